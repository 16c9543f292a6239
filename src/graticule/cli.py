"""The command line: which verb, with which words. Imports nothing heavy, so that help is at hand at once."""

import argparse
import ctypes
import importlib
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from graticule import __version__
from graticule.errors import ConfigError, GraticuleError

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


@dataclass(frozen=True)
class Verb:
    """What the help of a verb says; what it does is in the module of its name in `graticule.commands`."""

    summary: str
    usage: str
    text: str


VERBS = {
    "generate": Verb(
        "write simulated data in the layout of a published data set",
        "graticule generate WHAT --root FOLDER",
        """fisheye: streets of boxes, ray-cast through four fisheye lenses: photographs, labels, calibrations and (for
synwoodscape) depth, with the folders and formats of WoodScape.
dfc2021: land with towns, some lit at night, seen by four sensors: tiles with the files of IEEE GRSS DFC2021 DSE.
slumps: tundra with thaw slumps: scenes of Sentinel-2 and PLANET, labels, heights, trends, regions.
The same seed gives the same files.

examples:
  graticule generate fisheye --root street --images 40 --size 322x428
  graticule generate fisheye --root street --kind woodscape --seed 7
  graticule generate dfc2021 --root tiles --tiles 6
  graticule generate slumps --root tundra --scenes 24 --regions 4""",
    ),
    "prepare": Verb(
        "write a source's samples to a store",
        "graticule prepare [key=value ...]",
        """Reads a source (the built-in Earth, a folder of GeoTIFFs, fisheye photographs) and writes a store of samples,
from which all else reads. The store's path is the last line printed.

examples:
  graticule prepare experiment=earth_small                  the built-in Earth
  graticule prepare experiment=earth source.grid=healpix:256
  graticule prepare source=rasters source.images=images source.labels=labels 'source.classes=[water,land]'
  graticule prepare source=woodscape source.root=woodscape source.grid=healpix:256
  graticule prepare source=scenes source.scenes=images source.labels=labels.gpkg prepare.workers=4
  graticule prepare experiment=slumps source.scenes=more --append      new scenes into the store that is there""",
    ),
    "train": Verb(
        "train a net on a store and evaluate it",
        "graticule train [key=value ...]",
        """Splits the store, audits the split for leaks, trains, evaluates on the test part, and prints the run folder.
Words choose from groups (model=unet) or set values (trainer.max_epochs=3); the reference of all of them is
docs/reference/configuration.md, and --print-config shows what they come to.

examples:
  graticule train experiment=earth_small
  graticule train experiment=earth source.grid=healpix:256 tracker=tensorboard
  graticule train experiment=earth_small debug=fast         two batches, to see everything work
  graticule train --config my_run.py trainer.max_epochs=3   a file (.py .toml .yaml), then words over it
  graticule train experiment=earth -m model=unet,segmentation_cnn run.seed=1,2,3
  graticule train experiment=earth -m run.seed=1,2 --launcher slurm --slurm partition=gpu --slurm gpus_per_node=1""",
    ),
    "profile": Verb(
        "measure what the data, or the net, of a configuration cost",
        "graticule profile data|model [key=value ...]",
        """data: set-up, first batch, batches by number of threads, time by step, beside bare reads, memory and disk;
and which data.num_workers to set. It takes every configuration that train takes.
model: parameters, operations, memory, time of a training step by part and of an epoch, largest batch; of the store's
batches, or with profile.shape=[BANDS,ROWS,COLUMNS] (on HEALPix [BANDS,CELLS]) without a store.
Tables are shown; config.yaml, profile.json and profile.png are written to a new folder of OUTPUT/_profiles, which is
the last line printed.

examples:
  graticule profile data experiment=earth_small
  graticule profile data experiment=earth data.batch_size=8 'profile.workers=[0,2,8]' profile.loops=9
  graticule profile model experiment=earth_small
  graticule profile model experiment=earth profile.trace=true          also trace.json, for Perfetto, and trace.txt
  graticule profile model model=unet 'profile.shape=[13,256,256]' profile.outputs=10
  graticule profile model model=heal_swin 'profile.shape=[3,524288]' 'profile.base_pixels=[0,1,2,3,4,5,6,7]'""",
    ),
    "crossval": Verb(
        "train on every fold with several seeds, and score",
        "graticule crossval [key=value ...]",
        """Trains one configuration on crossval.n_folds of split.total_folds folds, each with crossval.n_randoms seeds,
and writes run_infos.parquet and summary.json beside the run folders. The same words with the same crossval.name go on
where a killed cross-validation was, and so does `graticule resume FOLDER`.

examples:
  graticule crossval experiment=earth_small split.total_folds=3 crossval.n_randoms=2
  graticule crossval experiment=earth crossval.name=earth-cv 'crossval.scoring_metric=[val/iou,val/loss:lower]'""",
    ),
    "tune": Verb(
        "search for the best hyperparameters",
        "graticule tune [key=value ...] [--sweep-id ID] [--device DEVICE]",
        """Every trial is a cross-validation. The search space is under `hyperparameters` in the file of --hpconfig or
--config, or is a sweep file of Weights & Biases. Any number of runners, on any number of machines, work at one study:

                     no --device               --device 0
  no --sweep-id      create the study          create it and run tune.n_trials trials
  --sweep-id ID      an error                  join the study and run tune.n_trials trials

What a killed runner leaves is taken over by another and goes on at its last checkpoint.

examples:
  graticule tune experiment=earth_small --hpconfig search.yaml tune.n_trials=20 --device cpu
  graticule tune experiment=earth --hpconfig sweep.yaml tune.name=earth-lr      the name is the sweep id
  graticule tune --sweep-id earth-lr --device 1 --storage postgresql://me@db.org/studies
  graticule tune --sweep-id earth-lr --runners 8 --launcher slurm --slurm gpus_per_node=1""",
    ),
    "resume": Verb(
        "go on with a run that was interrupted",
        "graticule resume RUN [key=value ...]",
        """Goes on at the last checkpoint; weights, metrics and logs become those of a run that was never interrupted.
RUN may also be the folder of a cross-validation. Words may change the sections trainer, data, tracker, callbacks and
evaluate.

examples:
  graticule resume runs/_runs/mossy-fjord-27-ab12cd34
  graticule resume ab12cd34 data.num_workers=4              the id, or the one at MLflow
  graticule resume RUN --checkpoint best                    a new run that begins at this checkpoint""",
    ),
    "evaluate": Verb(
        "measure a run on its parts, on any grid",
        "graticule evaluate RUN [key=value ...]",
        """Predicts the samples of a part and writes metrics with intervals to RUN/evaluation/<part>-<grid>/.

examples:
  graticule evaluate runs/_runs/mossy-fjord-27-ab12cd34
  graticule evaluate RUN evaluate.grid=healpix:256          on another grid
  graticule evaluate RUN 'evaluate.parts=[val,test]' --checkpoint last
  graticule evaluate RUN 'evaluate.grid=[camera,camera:640x768:masked]'      photographs
  graticule evaluate RUN evaluate.grid=all                  every evaluation of HEAL-SWIN's guide""",
    ),
    "predict": Verb(
        "write the map of a whole scene, or of the whole Earth",
        "graticule predict RUN [RUN ...] [SCENE ...] [key=value ...]",
        """Walks over scenes in blended windows and writes maps to RUN/predictions/: GeoTIFF on rasters, with objects,
extent, thumbnail and STAC item; Zarr and FITS on HEALPix. A scene is a name of the source's, or the path of a GeoTIFF;
all of the source's if none is given. Several runs, or --checkpoint several times, give the mean of all. Scenes whose
products are all there are kept.

examples:
  graticule predict runs/_runs/mossy-fjord-27-ab12cd34      all scenes of its source
  graticule predict RUN source.grid=raster:0.25deg          the same Earth on another grid
  graticule predict RUN scenes/new.tif predict.probabilities=uint8
  graticule predict RUN scenes/*.tif predict.workers=4 predict.min_object_size=32
  graticule predict RUN OTHER_RUN new.tif --checkpoint best --checkpoint last
  graticule predict RUN photo.png --calibration FV.json     a photograph: classes or depth on it and on the sphere
  graticule predict RUN 00000_FV                            one of its source""",
    ),
    "render": Verb(
        "show photographs under smog or in the light of a wildfire",
        "graticule render EVENT IMAGE [IMAGE ...]",
        """Smog needs the distance of every pixel, a wildfire the sky: files of the photograph's name (.npy, .npz, .png)
such as `graticule predict` writes. `all` does what can be done, with a sheet of all pictures of each photograph.

examples:
  graticule render smog street.jpg --depth street.npy
  graticule render wildfire photos --segmentation labels --sky 13 --seed 7
  graticule render all photos/*.jpg --depth RUN/predictions --segmentation RUN/predictions --out pictures""",
    ),
    "test": Verb(
        "measure a run on the test part: pixels and objects of whole scenes",
        "graticule test RUN [key=value ...]",
        """The same as `graticule evaluate RUN 'evaluate.parts=[test]' evaluate.grid=scene`: what overlapping windows
predict is blended on their scene first, so that no object is cut. Words may say otherwise.

examples:
  graticule test runs/_runs/mossy-fjord-27-ab12cd34
  graticule test RUN evaluate.threshold=best                the threshold that scored best in validation""",
    ),
    "export": Verb(
        "write a run's model as a folder to be given away",
        "graticule export RUN [--to FOLDER] [--format FORMAT ...]",
        """Writes weights as safetensors, and bands, classes, grid and normalisation as JSON; with --format onnx or
torch also a program that takes stored values and gives probabilities, checked against the run's. `graticule predict
FOLDER SCENE` takes the folder for a run.

examples:
  graticule export runs/_runs/mossy-fjord-27-ab12cd34
  graticule export RUN --to models/slumps --format onnx --format torch""",
    ),
    "convert": Verb(
        "make a model of a checkpoint that DARTS wrote",
        "graticule convert CHECKPOINT --out FOLDER",
        """Reads a checkpoint of Lightning, or one that DARTS converted, without running anything in it, and writes its
net as `graticule export` does.

examples:
  graticule convert epoch=42.ckpt --out models/slumps
  graticule convert RTS_v6.ckpt --out models/rts --target rts --format onnx""",
    ),
    "mlflow": Verb(
        "start the server that shows the runs tracked by MLflow",
        "graticule mlflow [options]",
        """Starts `mlflow server` over what the tracker `mlflow` writes: by default the file mlflow.db beside the runs.
It listens on this machine only; whoever reaches its port can read and change everything, so give another --host only
where a firewall or a proxy with passwords stands before it.

examples:
  graticule mlflow
  graticule mlflow --port 5001 --root runs/_runs
  graticule mlflow --backend files --root mlruns""",
    ),
    "report": Verb(
        "make one HTML page of a run, or of several side by side",
        "graticule report RUN [RUN ...] [--out PAGE]",
        """Writes one self-contained page that opens anywhere, offline. Its path is the last line printed.

examples:
  graticule report runs/_runs/mossy-fjord-27-ab12cd34
  graticule report runs/_runs/earth-raster-* runs/_runs/earth-healpix-* --out compared.html""",
    ),
}


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Raise, instead of printing the usage."""
        raise ConfigError(f"{message}; see `{self.prog} --help`.")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    0 done; 2 what the user gave cannot be used, said in one line; 75 preempted, to be resumed; 130 interrupted;
    1 a fault of this package, with its traceback.
    """
    try:
        return _run(list(sys.argv[1:] if argv is None else argv))
    except GraticuleError as error:
        print(f"graticule: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("graticule: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Who read our output has gone; nothing more can be told, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception:
        traceback.print_exc()
        return 1


def _run(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"graticule {__version__}")
        return 0
    if words[0] not in VERBS:
        words = _words_of_darts(words) or words
    name, *rest = words
    if name not in VERBS:
        close = get_close_matches(name, VERBS, n=1)
        hint = f"did you mean '{close[0]}'?" if close else f"the verbs are: {', '.join(VERBS)}."
        raise ConfigError(f"no verb is named '{name}'; {hint}")
    parser = parser_of(name)
    try:
        arguments = parser.parse_intermixed_args(rest)
    except SystemExit:  # argparse ends --help so
        return 0
    if arguments.env != "local" or arguments.dry_run:
        return int(importlib.import_module("graticule.commands.containers").execute(arguments, words))
    if not (getattr(arguments, "run", name) or getattr(arguments, "config", None)):
        raise ConfigError(f"no run was given; name its folder: graticule {name} RUN.")
    _read_environment()
    _keep_freed_memory()
    importlib.import_module(f"graticule.commands.{name}").main(arguments)
    return 0


def _words_of_darts(words: list[str]) -> list[str] | None:
    """What a command of DARTS is here, told so that it can be learnt; None if it is none."""
    from graticule.conf.darts import our_words

    ours = our_words(words)
    if ours is not None:
        print(f"graticule: here that is: {shlex.join(['graticule', *ours])}", file=sys.stderr)
    return ours


def start(path: str) -> NoReturn:
    """Do what the Python config file at `path` asks for, with the words of the command line; for its own last lines.

    `if __name__ == "__main__": start(__file__)` lets `python my_config.py` and `sbatch my_config.py` run it.
    """
    from graticule.conf.run_modules import verb_of

    try:
        verb = verb_of(Path(path))
    except GraticuleError as error:
        print(f"graticule: error: {error}", file=sys.stderr)
        sys.exit(2)
    sys.exit(main([verb, "--config", path, *sys.argv[1:]]))


def overview() -> str:
    """The help of the whole: every verb with one line."""
    lines = [f"  {name:<9} {verb.summary}" for name, verb in VERBS.items()]
    return "\n".join(
        [
            f"graticule {__version__}: turns pictures of the Earth into maps",
            "",
            "usage: graticule VERB ...",
            "",
            "verbs, in the order in which they are used:",
            *lines,
            "",
            "first steps:",
            "  graticule prepare experiment=earth_small",
            "  graticule train experiment=earth_small",
            "",
            "`graticule VERB --help` explains a verb with examples. The variables DATA_ROOT and OUTPUT_ROOT (also",
            "from a file .env in the working folder) say where stores and runs are kept.",
        ]
    )


def parser_of(name: str) -> argparse.ArgumentParser:
    """The parser of one verb."""
    verb = VERBS[name]
    parser = Parser(
        prog=f"graticule {name}", usage=f"{verb.usage} [options]", description=f"{verb.summary}\n\n{verb.text}",
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    _add_environment(parser)
    if name == "mlflow":
        _add_serving(parser)
        return parser
    if name == "report":
        parser.add_argument("runs", nargs="*", type=Path, metavar="RUN", help="folders that `graticule train` printed")
        parser.add_argument("--out", type=Path, metavar="PAGE", help="the page; else report.html in the first RUN")
        return parser
    if name == "generate":
        _add_generating(parser)
        return parser
    if name == "render":
        _add_rendering(parser)
        return parser
    if name == "profile":
        parser.add_argument("what", choices=("data", "model"), help="what to measure")
    if name in ("prepare", "profile", "train", "crossval", "tune"):
        parser.add_argument("words", nargs="*", metavar="key=value", help="choices of groups and values")
        _add_config(parser, "a .py, .toml or .yaml file; words win over it")
        parser.add_argument("--print-config", action="store_true", help="show the resolved configuration and stop")
        _add_launching(parser, multirun=name != "tune")
    else:
        parser.add_argument("run", nargs="?", type=Path, metavar="RUN", help="a folder that `graticule train` printed")
        parser.add_argument("words", nargs="*", metavar="key=value", help="values of the configuration")
    if name == "tune":
        _add_tuning(parser)
    if name == "prepare":
        parser.add_argument("--overwrite", action="store_true", help="replace a store that exists")
        parser.add_argument("--append", action="store_true", help="add the scenes that a store lacks")
    if name in ("export", "convert"):
        _add_exporting(parser, name)
    if name in ("evaluate", "resume"):
        _add_config(parser, "a .py file that names the run and what may change; words win over it")
    if name in ("evaluate", "test", "predict", "resume", "export"):
        default = "last" if name == "resume" else "best"
        told = f"best, last, the number of an epoch, or the path of a checkpoint ({default})"
        if name == "predict":
            parser.add_argument("--checkpoint", action="append", default=[], metavar="WHICH", help=told)
        else:
            parser.add_argument("--checkpoint", metavar="WHICH", help=told)
    if name == "predict":
        parser.add_argument("--overwrite", action="store_true", help="also scenes whose products are all there")
        parser.add_argument(
            "--calibration", type=Path, metavar="FILE", help="JSON of the camera of photographs in files"
        )
    parser.add_argument(
        "--trust", action="append", default=[], metavar="PACKAGE", help="let configurations name code of this package"
    )
    return parser


def _add_config(parser: argparse.ArgumentParser, told: str) -> None:
    parser.add_argument("--config", "--config-path", "--config_path", type=Path, metavar="FILE", help=told)


def _add_environment(parser: argparse.ArgumentParser) -> None:
    environments = ("local", "singularity", "docker")
    parser.add_argument("--env", choices=environments, default="local", help="where: here (default) or in a container")
    parser.add_argument("--dry-run", action="store_true", help="print the command that --env would run, and stop")


def _add_serving(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="folder that the tracker writes to (OUTPUT/_runs)")
    parser.add_argument("--backend", choices=("sqlite", "files"), default="sqlite", help="mlflow.db, or plain files")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=5000, metavar="N", help="port to listen on (5000)")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that answer (1)")


def _add_exporting(parser: argparse.ArgumentParser, name: str) -> None:
    told = "the folder to make" + (" (export in the run's folder)" if name == "export" else "")
    parser.add_argument("--to", "--out", dest="to", type=Path, metavar="FOLDER", help=told)
    formats = ("safetensors", "onnx", "torch")
    parser.add_argument("--format", action="append", choices=formats, default=[], help="beside safetensors; repeatable")
    parser.add_argument("--size", type=int, metavar="N", help="side of the windows that programs are made with (128)")
    parser.add_argument("--overwrite", action="store_true", help="replace a folder that exists")
    if name == "convert":
        parser.add_argument("--target", default="slump", metavar="NAME", help="what it predicts (slump)")


def _add_generating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=("fisheye", "dfc2021", "slumps"), help="which kind of data")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="the folder to make")
    parser.add_argument("--images", type=int, default=40, metavar="N", help="photographs, four of each instant (40)")
    parser.add_argument("--kind", choices=("synwoodscape", "woodscape"), default="synwoodscape", help="whose classes")
    parser.add_argument("--scenes", type=int, default=24, metavar="N", help="of slumps: scenes of each sensor (24)")
    parser.add_argument("--regions", type=int, default=4, metavar="N", help="of slumps: regions, up to six (4)")
    parser.add_argument("--tiles", type=int, default=6, metavar="N", help="tiles of 180 MB each (6)")
    told = "of photographs height x width (966x1280); of images of tiles their side (800, as published)"
    parser.add_argument("--size", metavar="PIXELS", help=told)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (0)")


def _add_rendering(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("event", choices=("wildfire", "smog", "all"), metavar="EVENT", help="wildfire, smog or all")
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="photographs, or folders of them")
    layers = {"depth": "distance in metres", "disparity": "1 / distance, in any unit", "segmentation": "class"}
    for layer, told in layers.items():
        told = f"{told} of each pixel: files, or folders"
        parser.add_argument(f"--{layer}", nargs="+", type=Path, default=[], metavar="PATH", help=told)
    told = "metres to which one in the files of depth comes, such as 0.001; whole numbers need it"
    parser.add_argument("--depth-unit", type=float, metavar="METRES", help=told)
    parser.add_argument("--visibility", type=float, default=120.0, metavar="METRES", help="in the smog (120)")
    parser.add_argument("--sky", default="9", metavar="CLASS", help="number or colour ('#rrggbb') of the sky (9)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the fire's colour (0)")
    parser.add_argument("--out", type=Path, default=Path("rendered"), metavar="FOLDER", help="for pictures (rendered)")


def _add_tuning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hpconfig", metavar="FILE", help="the search space, .yaml or .toml")
    parser.add_argument("--sweep-file", "--sweep_file", metavar="FILE", help="the same, for a sweep of W&B")
    parser.add_argument("--sweep-id", metavar="ID", help="join this study")
    parser.add_argument("--device", metavar="DEVICE", help="run trials here: the number of a GPU, cpu, mps, or auto")
    parser.add_argument("--storage", metavar="URL", help="database of the study; a file in its folder by default")
    parser.add_argument("--runners", type=int, default=1, metavar="N", help="how many runners a --launcher starts")


def _add_launching(parser: argparse.ArgumentParser, *, multirun: bool = True) -> None:
    if multirun:
        parser.add_argument(
            "-m", "--multirun", action="store_true", help="run every combination of the values in a=1,2 b=x,y"
        )
    parser.add_argument(
        "--launcher", choices=("here", "slurm", "local"), default="here",
        help="where: in this process, as Slurm jobs, or as processes of this machine",
    )  # fmt: skip
    parser.add_argument(
        "--slurm", action="append", default=[], metavar="KEY=VALUE", help="a parameter of the jobs, by submitit's name"
    )


def _read_environment() -> None:
    """Roots and keys from `.env` in the working folder; what the environment has already wins. Never shown."""
    if Path(".env").is_file():
        from dotenv import load_dotenv

        load_dotenv(Path(".env"))


def _keep_freed_memory() -> None:
    """Have glibc keep what tensors free, instead of giving it back to the kernel and asking again at every layer.

    On the processor, fetching the same pages anew took half the time of a training step. Elsewhere than on Linux with
    glibc this does nothing.
    """
    trim_threshold, mmap_threshold = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
    with suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(mmap_threshold, 2**30)
        libc.mallopt(trim_threshold, 2**31 - 1)
