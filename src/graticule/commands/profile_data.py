"""`graticule profile data`: the training loader of a configuration."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from graticule.commands.assemble import device_of, make_datamodule, split
from graticule.commands.console import tell
from graticule.commands.profile_folder import head_of, write_profile
from graticule.commands.profile_tables import show_data
from graticule.commands.stores import open_store, with_store
from graticule.conf.compose import Request, compose
from graticule.conf.tree import Config
from graticule.data.datamodule import DataModule
from graticule.data.profile import (
    bytes_per_sample,
    compare,
    disk_bytes_per_second,
    entries_of,
    pace,
    step_seconds,
    waits,
    with_entries,
)
from graticule.data.sampler import BatchSampler
from graticule.reporting.profile_words import advice_on_data, enough_workers


def profile_data(request: Request) -> Path:
    """Measure the batches of a configuration's training part; returns the folder of the profile.

    Raises:
        ConfigError: for a wrong word.
        StoreError: if there is no store, or it does not fit.
        SplitError: if the split is empty.
        OutputError: if the folder cannot be written.
    """
    config = compose(request, kinds=["source"])
    setup: dict[str, float] = {}
    with _timed(setup, "open the store"):
        store = open_store(config, request.words)
    config = with_store(config, store)
    with _timed(setup, "split"):
        assignment = split(config.split, store)
    with _timed(setup, "statistics"):
        datamodule = make_datamodule(config, store, assignment)
        assert datamodule.bands
    found = _measured_data(config, datamodule, setup)
    from graticule.reporting.profile_charts import draw_data_profile  # matplotlib takes a second to import

    folder = write_profile(config, found, draw_data_profile)
    show_data(found)
    print(folder)
    return folder


def _measured_data(config: Config, datamodule: DataModule, setup: dict[str, float]) -> dict[str, Any]:
    own, asked, size = config.data.num_workers, config.profile, config.data.batch_size
    loader, store = datamodule.train_loader, datamodule.store
    sampler = loader.sampler
    assert isinstance(sampler, BatchSampler)
    with _timed(setup, "order of an epoch"):
        entries = entries_of(sampler, asked.batches)
    workers = sorted({own, *asked.workers})
    tell(f"{asked.loops} loops of {asked.batches} batches with {', '.join(map(str, workers))} threads, and bare reads")
    first = waits(with_entries(loader, entries, own))
    setup["first batch"] = first[0]
    loaded, bare = compare(loader, workers, entries, asked.loops)
    spent = step_seconds(loader, entries, lambda batch: datamodule.on_after_batch_transfer(batch, 0))
    medians = {name: float(np.median(seconds)) for name, seconds in spent.items()}
    each = bytes_per_sample(loader)
    rows = [{"num_workers": number} | _with_bytes(pace(loaded[number], size), each) for number in workers]
    copied = pace(bare["memcpy"], size)["best_samples_per_second"] * each
    found = head_of("data", config, device_of(config)) | {
        "store": {
            "path": store.path.name, "samples": len(store), "bands": len(store.bands), "space": list(store.space),
            "dtype": str(store.dtype), "codec": store.config.get("codec", "none"),
        },
        "batch": {"samples": size, "bytes": each * size, "per_epoch": len(sampler)},
        "setup": setup,
        "first_pass": {"samples_per_second": size * len(first) / sum(first), "seconds": sum(first)},
        "workers": rows,
        "steps": [
            {"step": name, "seconds": seconds, "share": seconds / sum(medians.values())}
            for name, seconds in medians.items()
        ],
        "limits": {
            "bare_reads": _with_bytes(pace(bare["bare_reads"], size), each),
            "memcpy_bytes_per_second": copied, "disk_bytes_per_second": disk_bytes_per_second(store),
        },
        "configured_workers": own,
        "recommended_workers": enough_workers(rows),
    }  # fmt: skip
    return found | {"advice": advice_on_data(found)}


def _with_bytes(found: dict[str, Any], each: int) -> dict[str, Any]:
    return found | {"bytes_per_second": found["samples_per_second"] * each}


@contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began
