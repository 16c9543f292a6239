"""The folder of a profile: its name, what is in it, and what every profile tells."""

import importlib.metadata
import os
import platform
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from graticule.conf.compose import write_config
from graticule.conf.tree import Config
from graticule.files import whole_folder
from graticule.runs import random_id, random_name, write_json

PROFILES = "_profiles"
"""Folder under the output root for profiles."""


def head_of(kind: str, config: Config, device: str) -> dict[str, Any]:
    """What every profile tells: its kind, when, and on which machine."""
    return {
        "kind": kind, "created": datetime.now(UTC).isoformat(timespec="seconds"), "device": device,
        "machine": {
            "cpus": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "torch_threads": torch.get_num_threads(), "platform": platform.platform(), "torch": torch.__version__,
            "gpu": torch.cuda.get_device_name() if device == "cuda" else None,
            "graticule": importlib.metadata.version("graticule"),
        },
    }  # fmt: skip


def write_profile(
    config: Config, found: Mapping[str, Any], draw: Callable[[Mapping[str, Any], Path], None],
    further: Callable[[Path], None] | None = None,
) -> Path:  # fmt: skip
    """Write the folder of a profile, whole or not at all."""
    name = f"{config.profile.name or random_name()}-{random_id()}"
    folder = Path(config.run.output_root) / PROFILES / name
    with whole_folder(folder) as temporary:
        write_config(temporary / "config.yaml", config)
        write_json(temporary / "profile.json", found)
        draw(found, temporary / "profile.png")
        if further is not None:
            further(temporary)
    return folder
