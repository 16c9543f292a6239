"""`graticule probe`: how good the features of a net are, beside those of a random start; table, JSON and picture."""

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from graticule.commands.assemble import device_of, split
from graticule.commands.backbones import RANDOM, probed
from graticule.commands.console import tell
from graticule.commands.profile_folder import head_of
from graticule.conf.compose import Request, compose, compose_from
from graticule.conf.overrides import wishes
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.loader import pick_targets
from graticule.data.splits import PARTS, Assignment
from graticule.data.store import Store
from graticule.errors import ConfigError, nearest
from graticule.files import whole_folder
from graticule.inference.features import Frozen, features_of
from graticule.inference.probing import Parts, probe
from graticule.reporting.probe_charts import draw_probes
from graticule.runs import Run, random_id, write_json
from graticule.schema import Target

PROBES = "_probes"
"""Folder under the output root for probes."""
SECTIONS = ("callbacks", "data", "probe", "run", "split", "trainer")
"""Sections of the configuration that words may set."""
_TITLES = {"knn5": "kNN, k=5", "knn20": "kNN, k=20", "linear": "linear"}


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    words = [word for word in arguments.words if "=" in word]
    stores = [Path(word) for word in arguments.words if "=" not in word]
    if arguments.net is None or not stores:
        raise ConfigError("name a net and a store to probe it on: graticule probe BACKBONE_OR_RUN STORE [STORE ...].")
    for key in (*wishes(words).values, *wishes(words).groups):
        if key.split(".")[0] not in SECTIONS:
            raise ConfigError(f"'{key}' changes nothing of a probe; what can: {', '.join(SECTIONS)}.")
    for store in stores:
        print(probe_store(arguments.net, Store.open(store), words, tuple(arguments.trust)))


def probe_store(word: str, store: Store, words: list[str], trusted: tuple[str, ...] = ()) -> Path:
    """Probe a net on the samples of one store, and return the folder of what was found.

    Raises:
        ConfigError: for a wrong word, a net that cannot be probed, or a store without classes.
        SplitError: if the store cannot be split so.
        OutputError: if the folder cannot be written.
    """
    config = compose(Request([*_usual_split(store, words), *words], trusted=trusted), kinds=())
    target = _target(store, config)
    own = None if _names_split(words) else _own_split(Path(word), store, trusted)
    assignment = split(config.split, store) if own is None else own

    def datamodule(bands: list[str] | None) -> DataModule:
        data = config.data
        return DataModule(
            store, assignment, batch_size=data.batch_size, eval_batch_size=data.eval_batch_size,
            num_workers=data.num_workers, bands=bands or data.bands, targets=[target.name], seed=config.run.seed,
        )  # fmt: skip

    net, start = probed(word, datamodule, trusted)
    data = datamodule(list(net.bands))
    counts = ", ".join(f"{len(assignment.samples(part))} {part}" for part in PARTS)
    tell(f"Probing {net.name} on {store.path.name} ({target.name}); samples: {counts}.")
    found: dict[str, Any] = {}
    if not word.startswith(RANDOM):
        parts = _features(net, data, target, config)
        found[net.name] = _probes(config, target, lambda seed: parts)
    if start is not None and (config.probe.baseline or not found):
        found["random start"] = _probes(config, target, lambda seed: _features(start(seed), data, target, config))
    told = config.split.model_dump(mode="json") if own is None else "as the net was trained with"
    return _write(config, store, target, net, found, told)


def _probes(config: Config, target: Target, parts_of: Callable[[int], Parts]) -> dict[str, Any]:
    options = config.probe
    return probe(parts_of, len(target.legend), shares=options.shares, seeds=options.seeds, cs=options.cs)


def _features(net: Frozen, data: DataModule, target: Target, config: Config) -> Parts:
    options: dict[str, Any] = {
        "size": config.probe.size,
        "device": device_of(config),
        "progress": config.callbacks.progress,
    }
    return {part: features_of(net, data, part, target, **options) for part in PARTS}


def _target(store: Store, config: Config) -> Target:
    able = [target.name for target in store.targets if target.is_categorical]
    if not able:
        raise ConfigError(f"{store.path} has no target of classes, which a probe needs; prepare one that has.")
    (target,) = pick_targets(store, [config.probe.target or able[0]])
    if not target.is_categorical:
        raise ConfigError(f"probe.target is '{target.name}', which has no classes; {nearest(target.name, able)}")
    return target


def _usual_split(store: Store, words: Sequence[str]) -> list[str]:
    """Where the words name no split: the published one, else blocks where places are known, else at random."""
    if _names_split(words):
        return []
    if "published" in store.metadata:
        return ["split=published"]
    return ["split=random" if bool(store.metadata.geometry.is_empty.any()) else "split=block"]


def _names_split(words: Sequence[str]) -> bool:
    asked = wishes(words)
    return "split" in asked.groups or any(key.split(".")[0] == "split" for key in asked.values)


def _own_split(path: Path, store: Store, trusted: tuple[str, ...]) -> Assignment | None:
    """The split that the net was trained with, where that was on this very store; so that it has not seen the test."""
    for folder in (path, path.parent):
        run = Run(folder)
        if run.config.is_file() and run.assignment.is_file():
            trained_on = compose_from(run.config, Request(trusted=trusted), ()).data.store
            return Assignment.load(run.assignment) if trained_on == str(store.path.resolve()) else None
    return None


def _write(config: Config, store: Store, target: Target, net: Frozen, found: dict[str, Any], told: Any) -> Path:
    """Show the table, and write all to a folder."""
    content = head_of("probe", config, device_of(config)) | {
        "net": {"name": net.name, "bands": list(net.bands), **net.told}, "store": str(store.path),
        "target": target.name, "classes": [entry.name for entry in target.legend],
        "split": told, "seeds": config.probe.seeds, "results": found,
    }  # fmt: skip
    _show(content)
    name = f"{config.probe.name or net.name.replace(' ', '-')}-{store.path.name}-{random_id()}"
    folder = Path(config.run.output_root) / PROBES / name.replace("/", "-")
    with whole_folder(folder) as temporary:
        write_json(temporary / "probe.json", content)
        draw_probes(content, temporary / "probe.png")
    return folder


def _show(content: Mapping[str, Any]) -> None:
    """Accuracy on the test part: probes by share of labels down, nets across."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("probe", "share", "labels"):
        table.add_column(title, no_wrap=True, justify="left" if title == "probe" else "right")
    nets = list(content["results"])
    for name in nets:
        table.add_column(f"{name}, accuracy", justify="right", no_wrap=True)
        table.add_column("mean F1", justify="right", no_wrap=True)
    for kind, title in _TITLES.items():
        rows = [{row["share"]: row for row in content["results"][name].get(kind, [])} for name in nets]
        for share in sorted({share for by_share in rows for share in by_share}):
            cells = []
            for by_share in rows:
                row = by_share[share]
                low, high = row["interval"]
                cells += [f"{row['accuracy']:.3f} ({low:.3f} to {high:.3f})", f"{row['f1']:.3f}"]
            table.add_row(title, f"{share:.0%}", str(rows[0][share]["labels"]), *cells)
    Console(width=max(Console().width, 120)).print(table)
