"""The arguments of each verb."""

import argparse
from pathlib import Path
from typing import NoReturn

from graticule.errors import ConfigError
from graticule.verbs import VERBS


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, as everything else does."""

    def error(self, message: str) -> NoReturn:
        """Raise, instead of printing the usage."""
        raise ConfigError(f"{message}; see `{self.prog} --help`.")


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
    if name == "probe":
        _add_probing(parser)
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


def _add_probing(parser: argparse.ArgumentParser) -> None:
    told = "folder of an exported backbone or of a run, a timm model, or random:MODEL"
    parser.add_argument("net", nargs="?", metavar="NET", help=told)
    parser.add_argument("words", nargs="*", metavar="STORE", help="folders of stores; and key=value")
    told = "let configurations name code of this package"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=told)


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
    kinds = ("fisheye", "streets", "dfc2021", "slumps", "mnist", "images")
    parser.add_argument("what", choices=kinds, help="which kind of data")
    parser.add_argument("--root", type=Path, metavar="FOLDER", help="the folder to make")
    told = "photographs, of streets of each domain (40); digits (6000); images of each class (60)"
    parser.add_argument("--images", type=int, metavar="N", help=told)
    told = "whose layout: of fisheye synwoodscape, the default, or woodscape; of streets lists or vkitti2"
    parser.add_argument("--kind", choices=("synwoodscape", "woodscape", "lists", "vkitti2"), help=told)
    parser.add_argument("--scenes", type=int, default=24, metavar="N", help="of slumps: scenes of each sensor (24)")
    parser.add_argument("--regions", type=int, default=4, metavar="N", help="of slumps: regions, up to six (4)")
    parser.add_argument("--tiles", type=int, default=6, metavar="N", help="tiles of 180 MB each (6)")
    told = (
        "of photographs height x width (966x1280; streets 256x256); of images of tiles their side (800, as published)"
    )
    parser.add_argument("--size", metavar="PIXELS", help=told)
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of all that is drawn (0)")


def _add_rendering(parser: argparse.ArgumentParser) -> None:
    events = ("flood", "wildfire", "smog", "all")
    parser.add_argument("event", choices=events, metavar="EVENT", help="flood, wildfire, smog or all")
    parser.add_argument("images", nargs="*", type=Path, metavar="IMAGE", help="photographs, or folders of them")
    told = "a trained masker: sees depth, classes and mask where no file tells them"
    parser.add_argument("--run", dest="masker", metavar="RUN", help=told)
    parser.add_argument("--painter", metavar="RUN", help="a trained painter, for the flood")
    told = "in place of both, by ClimateGAN's rules: m=PATH, p=PATH, or pm=PATH of a folder with masker and painter"
    parser.add_argument("--load", nargs="+", default=[], metavar="PART=PATH", help=told)
    layers = {"depth": "distance in metres", "disparity": "1 / distance, in any unit", "segmentation": "class"}
    layers |= {"mask": "share of water"}
    for layer, told in layers.items():
        told = f"{told} of each pixel: files, or folders"
        parser.add_argument(f"--{layer}", nargs="+", type=Path, default=[], metavar="PATH", help=told)
    told = "metres to which one in the files of depth comes, such as 0.001; whole numbers need it"
    parser.add_argument("--depth-unit", type=float, metavar="METRES", help=told)
    parser.add_argument("--visibility", type=float, default=120.0, metavar="METRES", help="in the smog (120)")
    parser.add_argument("--sky", default="9", metavar="CLASS", help="number or colour ('#rrggbb') of the sky (9)")
    told = "share from which a pixel is water (0.5); -1 mixes water and photograph by the mask"
    parser.add_argument("--threshold", type=float, default=0.5, metavar="SHARE", help=told)
    parser.add_argument("--cloudy", action="store_true", help="show the painter a clouded sky, so that water is grey")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the fire's colour and the clouds (0)")
    parser.add_argument("--size", type=int, metavar="N", help="resize to so many pixels a side, and cut a square")
    parser.add_argument("--keep-ratio", action="store_true", help="with --size: keep the proportions, cut nothing")
    told = "shorter side at which the masker sees a photograph (as in its training); 0: as it is"
    parser.add_argument("--masker-size", type=int, metavar="N", help=told)
    told = "layers to write, too: mask, depth, disparity, segmentation"
    parser.add_argument("--save", nargs="+", default=[], metavar="LAYER", help=told)
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="of the nets (auto)")
    parser.add_argument("--batch-size", type=int, default=1, metavar="N", help="photographs of one size at once (1)")
    told = "let runs name code of this package"
    parser.add_argument("--trust", action="append", default=[], metavar="PACKAGE", help=told)
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
