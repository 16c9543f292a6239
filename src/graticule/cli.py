"""The command line: which verb, with which words. Imports nothing heavy, so that help is at hand at once."""

import ctypes
import importlib
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path
from typing import NoReturn

from graticule import __version__
from graticule.arguments import parser_of
from graticule.errors import ConfigError, GraticuleError
from graticule.verbs import VERBS

INTERRUPTED = 130
"""Exit status after Ctrl-C."""


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
