"""Which store a configuration means, and whether it is the one. Needs no torch."""

import os
import shlex
from collections.abc import Sequence
from math import isqrt
from pathlib import Path
from typing import Any

from graticule.conf.tree import Config, SourceConfig
from graticule.data.store import Store
from graticule.errors import StoreError


def store_path(config: Config) -> Path:
    """Where the store of a configuration is: `data.store`, else `<source>-<grid or domain>` in the folder of stores."""
    if config.data.store:
        return Path(config.data.store)
    options = config.source.options()
    names = [config.source.name, *(str(options[key]) for key in ("grid", "domain") if options.get(key))]
    return Path(os.environ.get("DATA_ROOT", "stores")) / "-".join(names).replace(":", "-")


def open_store(config: Config, words: Sequence[str] = ()) -> Store:
    """The store of a configuration.

    Raises:
        StoreError: if there is none (the line says how to prepare it, with the same `words`), or if it was prepared
            from another source than the configuration's.
    """
    path = store_path(config)
    if not path.is_dir():
        command = shlex.join(["graticule", "prepare", *words])
        raise StoreError(f"there is no store at {path}; write it first: {command}")
    store = Store.open(path)
    if not config.data.store:
        check_source(store, config)
    return store


def check_source(store: Store, config: Config) -> None:
    """Refuse a store that another source, or the same with other options, has written."""
    told = config.source.model_dump(mode="json")
    for key, value in _source_of(store).items():
        if told.get(key) is not None and told[key] != value:
            raise StoreError(
                f"{store.path} was prepared with source.{key}={value}, and the configuration has {told[key]}; "
                "prepare it again with --overwrite, or name another folder as data.store."
            )


def with_store(config: Config, store: Store) -> Config:
    """The configuration with what only the store knows: its folder and source, and what fits its windows."""
    told, found = config.source.model_dump(mode="json"), _source_of(store)
    same = all(told.get(key) in (None, value) for key, value in found.items())
    source = config.source if same else SourceConfig.model_validate(found)
    crop, side = config.data.augment.crop, min(store.space) if len(store.space) == 2 else isqrt(store.space[0])
    if crop is not None and len(store.space) == 1:
        # A crop of nested cells has a power of two as its side.
        crop = min(1 << (crop.bit_length() - 1), side)
    if crop is not None and crop >= side:
        crop = None
    augment = config.data.augment.model_copy(update={"crop": crop})
    data = config.data.model_copy(update={"store": str(store.path.resolve()), "augment": augment})
    return config.model_copy(update={"source": source, "data": data})


def _source_of(store: Store) -> dict[str, Any]:
    return {"name": store.config["source"], **store.config["source_options"]}
