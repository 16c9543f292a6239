"""`graticule convert`: a checkpoint of DARTS as an exported model."""

import argparse
from pathlib import Path
from typing import Any

from graticule.commands.console import tell
from graticule.commands.export import export
from graticule.conf.compose import Request, compose
from graticule.conf.tree import Config
from graticule.conf.tuned import with_values
from graticule.data.features.bands import TABLE
from graticule.errors import ConfigError
from graticule.models.smp import SMP
from graticule.schema import Band, LegendClass, Target
from graticule.tasks.dense import DensePrediction
from graticule.training.exported import hash_of
from graticule.training.foreign import Foreign, bands_of, check_finite, place, read_foreign

_COLOURS = "#444444 #d95f02 #1b9e77 #7570b3 #e7298a #66a61e #e6ab02 #a6761d #377eb8 #e41a1c".split()
KNOWN: dict[str, Band] = TABLE | {
    "aspect": Band("aspect", "degree", "angle", scale=0.1, nodata=-1.0, valid_range=(0.0, 360.0))
}
"""Bands that DARTS trains with; its aspect, in degrees, is none that we make."""


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    if arguments.to is None:
        raise ConfigError("no folder was given for the model; name one: graticule convert CHECKPOINT --out FOLDER.")
    if arguments.words:
        raise ConfigError(
            f"convert takes one checkpoint and no '{arguments.words[0]}'; see `graticule convert --help`."
        )
    formats, size = tuple(arguments.format), arguments.size
    convert(arguments.run, arguments.to, arguments.target, formats, size, overwrite=arguments.overwrite)
    print(arguments.to)


def convert(
    path: Path, folder: Path, target: str = "slump", formats: tuple[str, ...] = (), size: int | None = None, *,
    overwrite: bool = False,
) -> DensePrediction:  # fmt: skip
    """Write a checkpoint of DARTS as an exported model; returns its task.

    Args:
        path: of the checkpoint, as Lightning saved it or as DARTS converted it.
        folder: to make.
        target: name of what it predicts.
        formats: further formats, as `export` takes them.
        size: side of the windows that programs are made with.
        overwrite: replace a folder that exists.

    Raises:
        CheckpointError: if the file is unsafe or damaged, lacks its config, or does not fit the net that it names.
        ConfigError: if the net or its encoder does not exist.
        OutputError: if the folder exists or cannot be written.
    """
    foreign = read_foreign(path)
    check_finite(foreign)
    bands = bands_of(foreign, KNOWN)
    net = SMP(len(bands), foreign.classes, foreign.architecture, foreign.encoder)
    place(foreign, net.net)
    config = _config(foreign)
    plain: dict[str, Any] = config.to_dict() | {"grid_kind": "raster", "base_pixels": None}
    task = DensePrediction(net, bands, [_target(target, foreign.classes)], config=plain, normalisation="range")
    origin = {
        "checkpoint": path.name, "checkpoint_sha256": hash_of(path), "form": f"DARTS, {foreign.form}",
        "told": foreign.told,
    }  # fmt: skip
    export(folder, task, config, origin, formats, size, overwrite=overwrite)
    _tell(foreign, net)
    return task.eval()


def _config(foreign: Foreign) -> Config:
    model = {
        "name": "smp", "architecture": foreign.architecture, "encoder": foreign.encoder, "encoder_weights": None
    }  # fmt: skip
    values = {f"model.{key}": value for key, value in model.items()}
    base = compose(Request(["model=smp"]))
    return with_values(base, {**values, "data.bands": list(foreign.band_names), "task.normalisation": "range"})


def _target(name: str, classes: int) -> Target:
    names = ["background", name] if classes == 1 else [f"class {value}" for value in range(classes)]
    legend = tuple(LegendClass(value, n, _COLOURS[value % len(_COLOURS)]) for value, n in enumerate(names))
    return Target(name, "binary" if classes == 1 else "classes", legend)


def _tell(foreign: Foreign, net: SMP) -> None:
    """What is not quite as it was."""
    tell(f"{foreign.architecture} with {foreign.encoder} on {len(foreign.band_names)} bands: all weights fit.")
    if any(
        getattr(module, "scale_factor", None)
        for name, module in net.net.named_modules()
        if name.startswith("segmentation_head")
    ):
        tell("The head's upsampling keeps pixel centres here; in DARTS it shifts the map by up to 1.5 pixels at edges.")
    if "aspect" in foreign.band_names:
        tell("Its band 'aspect' is in degrees, and in DARTS not from true north: give the band as it was made there.")
