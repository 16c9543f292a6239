"""Lists of photographs: JSON or YAML files with one entry {x, m, s, d} per photograph."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from graticule.errors import SourceError, nearest

# Key of a list → name of the target.
TASKS = {"m": "mask", "s": "semantics", "d": "depth", "must_may": "must_may"}
_WORDS = {"region", "parent"}


@dataclass(frozen=True)
class Entry:
    """One photograph of a list.

    Attributes:
        name: path of the photograph without suffix, as the list has it.
        part: `train`, `val` or `test`: whose list it is in.
        files: its photograph as `x`, and what is known of it by the target's name.
        parent: what it must stay together with.
        region: where it is from.
    """

    name: str
    part: str
    files: Mapping[str, Path]
    parent: str
    region: str


def read_lists(lists: Mapping[str, str], base: str | None) -> list[Entry]:
    """All photographs of the lists, by part.

    Args:
        lists: path of the list of each part; or a folder in the layout of Virtual KITTI 2, whose Scene06 validates
            where it is given to train with, as in ClimateGAN's lists.
        base: folder that paths in the lists are relative to; the list's own folder if None. `$NAME` in any path is the
            variable of the environment.

    Raises:
        SourceError: if a list cannot be read, or names what is not there.
    """
    found: list[Entry] = []
    for part, path in lists.items():
        folder = Path(expanded(path, "a list"))
        if folder.is_dir():
            found += _virtual_kitti(folder, part)
            lists = {"val": path, **lists}  # for errors: where a photograph was named
            continue
        for place, raw in enumerate(_content(Path(expanded(path, "a list")))):
            found.append(_entry(raw, f"entry {place} of {path}", part, _base(base, path)))
    missing = [(entry, name, file) for entry in found for name, file in entry.files.items() if not file.is_file()]
    if missing:
        entry, name, file = missing[0]
        more = f" ({len(missing) - 1} more are missing)" if len(missing) > 1 else ""
        raise SourceError(
            f"{file} is missing, which {lists[entry.part]} names as {name} of {entry.name}{more}; correct the list, or "
            "give the folder of its paths as source.base."
        )
    _check_once(found, lists)
    return found


def expanded(path: str, where: str) -> str:
    """A path with $NAME and ${NAME} replaced by the variables of the environment.

    Raises:
        SourceError: if one is not set.
    """

    def value(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in os.environ:
            raise SourceError(f"{where} has ${name} in {path}, and that variable is not set; set it: export {name}=...")
        return os.environ[name]

    return os.path.expanduser(re.sub(r"\$(?:(\w+)|\{(\w+)\})", value, path))


def _virtual_kitti(root: Path, part: str) -> list[Entry]:
    """All photographs of a folder in the layout of Virtual KITTI 2; a scene is a parent and a region.

    Raises:
        SourceError: if there is none.
    """
    found = []
    for photo in sorted(root.glob("Scene*/*/frames/rgb/Camera_*/rgb_*.jpg")):
        frames, camera, number = photo.parents[2], photo.parent.name, photo.stem.removeprefix("rgb_")
        scene = frames.parents[1].name
        known = {
            "semantics": frames / "classSegmentation" / camera / f"classgt_{number}.png",
            "depth": frames / "depth" / camera / f"depth_{number}.png",
        }
        files = {"x": photo, **{name: path for name, path in known.items() if path.is_file()}}
        own = "val" if (part, scene) == ("train", "Scene06") else part
        found.append(Entry(photo.relative_to(root).with_suffix("").as_posix(), own, files, scene, scene))
    if not found:
        raise SourceError(
            f"{root} has no Scene*/*/frames/rgb/Camera_*/rgb_*.jpg as Virtual KITTI 2 has; give the folder into which "
            "it was unpacked, or a list."
        )
    return found


def _base(base: str | None, path: str) -> Path:
    return Path(expanded(path, "a list")).parent if base is None else Path(expanded(base, "source.base"))


def _content(path: Path) -> list[Any]:
    try:
        text = path.read_text()
        content = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except OSError as error:
        raise SourceError(f"{path} cannot be read ({error.strerror}); give a list of photographs.") from error
    except (ValueError, yaml.YAMLError) as error:
        reason = str(error).splitlines()[0]
        raise SourceError(f"{path} is no whole JSON or YAML file ({reason}); correct it.") from error
    if not isinstance(content, list) or not content:
        raise SourceError(f"{path} is no list of photographs; write [{{'x': 'photo.jpg', 'm': 'mask.png'}}, ...].")
    return content


def _entry(raw: Any, where: str, part: str, base: Path) -> Entry:
    if not isinstance(raw, Mapping) or not isinstance(raw.get("x"), str):
        raise SourceError(f"{where} names no photograph; write {{'x': 'photo.jpg', ...}}.")
    unknown = [str(key) for key in raw if key not in {"x", *TASKS, *_WORDS}]
    if unknown:
        raise SourceError(f"{where} has '{unknown[0]}'; {nearest(unknown[0], {'x', *TASKS, *_WORDS})}")
    paths = {str(key): str(value) for key, value in raw.items() if key not in _WORDS}
    files = {TASKS.get(key, key): base / expanded(value, where) for key, value in paths.items()}
    name = Path(os.path.normpath(expanded(raw["x"], where))).with_suffix("").as_posix().lstrip("/")
    return Entry(name, part, files, str(raw.get("parent", name)), str(raw.get("region", "all")))


def _check_once(entries: list[Entry], lists: Mapping[str, str]) -> None:
    parts: dict[str, str] = {}
    for entry in entries:
        if parts.get(entry.name) == entry.part:
            raise SourceError(f"{entry.files['x']} is named twice in {lists[entry.part]}; leave one of them out.")
        other = parts.setdefault(entry.name, entry.part)
        if other != entry.part:
            raise SourceError(
                f"{entry.files['x']} is in {lists[other]} and in {lists[entry.part]}; leave it out of one, since what "
                "was trained on cannot validate."
            )
    parents: dict[str, str] = {}
    for entry in entries:
        other = parents.setdefault(entry.parent, entry.part)
        if other != entry.part:
            raise SourceError(
                f"parent '{entry.parent}' has photographs in {lists[other]} and in {lists[entry.part]}; a scene must "
                "be in one part."
            )
