"""Which checkpoints a masker and a painter are loaded from: the four rules of ClimateGAN's `load_paths`.

1. A folder stands for its latest checkpoint.
2. A specific checkpoint must be a file of a checkpoint: `.ckpt`, or `.safetensors` of an exported model.
3. For a masker or a painter alone, its own path or none is given; none stands for the latest of the output folder.
4. For both, one path for each, one for both (`pm`), or none is given. A folder for both holds the folders `masker` and
   `painter`, each a run or an exported model.

(ClimateGAN let `pm` win silently over the others, and took any file in half of the cases.)
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from graticule.errors import CheckpointError, ConfigError, nearest

Part = Literal["m", "p"]
NAMES = {"m": "masker", "p": "painter", "pm": "painter and masker"}
SUFFIXES = (".ckpt", ".safetensors")

_LATEST = ("last.ckpt", "checkpoints/last.ckpt", "weights.safetensors")
_NONE = (None, "", "none", "None", "null")


@dataclass(frozen=True)
class LoadPaths:
    """The file that each part is loaded from; None for a part that is not asked for."""

    m: Path | None = None
    p: Path | None = None


def parse_load(words: Collection[str]) -> dict[str, str]:
    """Words such as `m=RUN` as a mapping.

    Raises:
        ConfigError: for a word of another form, or an unknown or repeated part.
    """
    told: dict[str, str] = {}
    for word in words:
        name, equals, path = word.partition("=")
        if not equals or not path:
            raise ConfigError(f"'{word}' says nothing of what to load; give m=PATH, p=PATH or pm=PATH.")
        if name not in NAMES:
            raise ConfigError(f"'{name}' in '{word}' is no part to load; {nearest(name, NAMES)}")
        if name in told:
            raise ConfigError(f"{name}= is given twice ({told[name]} and {path}); give it once.")
        told[name] = path
    return told


def load_paths(
    told: Mapping[str, str | Path | None], parts: Collection[Part], output: str | Path | None = None
) -> LoadPaths:
    """The files to load, by the rules above.

    Args:
        told: paths for `m`, `p` and `pm`; None, "none" or missing: not given.
        parts: what is needed: `m`, `p` or both.
        output: the folder whose latest checkpoint is taken where nothing is given.

    Raises:
        ConfigError: if what is given does not go together, or nothing is given and there is no output folder.
        CheckpointError: if a path leads to no checkpoint.
    """
    for name in told:
        if name not in NAMES:
            raise ConfigError(f"load_paths has no '{name}'; {nearest(name, NAMES)}")
    given = {name: Path(str(path)) for name, path in told.items() if str(path) not in map(str, _NONE)}
    needed = sorted(set(parts))
    if not needed or not set(needed) <= {"m", "p"}:
        raise ConfigError(f"parts to load are {needed}; they must be m, p or both.")
    chosen = _both(given, output) if len(needed) == 2 else {needed[0]: _one(needed[0], given, output)}
    return LoadPaths(**{part: latest(path) for part, path in chosen.items()})


def _one(part: str, given: Mapping[str, Path], output: str | Path | None) -> Path:
    """Of one part: its own path, or none."""
    others = [name for name in given if name != part]
    if others:
        raise ConfigError(
            f"only the {NAMES[part]} is loaded, and load_paths also has {', '.join(others)}; "
            f"give {part} alone, or none."
        )
    return given.get(part) or _output(output, part)


def _both(given: Mapping[str, Path], output: str | Path | None) -> dict[str, Path]:
    """Of both parts: one path for each, one for both, or none."""
    if "pm" in given and len(given) > 1:
        others = ", ".join(sorted(set(given) - {"pm"}))
        raise ConfigError(f"load_paths has pm and also {others}; give pm alone, or m and p without it.")
    if "pm" in given:
        return _inside(given["pm"])
    if len(given) == 1:
        (there,) = given
        missing = "p" if there == "m" else "m"
        raise ConfigError(
            f"load_paths has {there} and no {missing}, and the {NAMES[missing]} is needed too; give {missing}, or one "
            "path for both as pm."
        )
    if not given:
        return _inside(_output(output, "pm"))
    if given["m"] == given["p"]:
        raise ConfigError(f"load_paths has {given['m']} as m and as p; a path for both is given as pm.")
    return dict(given)


def _inside(folder: Path) -> dict[str, Path]:
    """Masker and painter in a folder of both."""
    found = {part: folder / NAMES[part] for part in ("m", "p")}
    for part, path in found.items():
        if not path.is_dir():
            raise CheckpointError(
                f"{folder} has no folder '{path.name}', so that it holds no {NAMES[part]}; give the folder of both as "
                "pm, or a path for each as m and p."
            )
    return found


def _output(output: str | Path | None, name: str) -> Path:
    if output is None:
        raise ConfigError(f"nothing says what to load the {NAMES[name]} from; give {name}=PATH.")
    return Path(output)


def latest(path: Path) -> Path:
    """The checkpoint that a path stands for: the file, or the latest of a folder.

    Raises:
        CheckpointError: if there is none, or the file is no checkpoint.
    """
    if path.is_dir():
        for name in _LATEST:
            if (path / name).is_file():
                return path / name
        raise CheckpointError(f"{path} has no checkpoint (checkpoints/last.ckpt); give the folder of a run, or a file.")
    if path.suffix not in SUFFIXES:
        raise CheckpointError(f"{path} is no folder and no {' or '.join(SUFFIXES)} file; give one of these.")
    if not path.is_file():
        raise CheckpointError(f"there is no checkpoint {path}; give the folder of a run, or a file in its checkpoints.")
    return path
