"""`graticule prepare`: a source's samples, written to a store."""

import argparse
from functools import partial

from graticule.commands.console import tell
from graticule.commands.launching import launch
from graticule.commands.stores import check_source, store_path
from graticule.conf.compose import Request, compose, trusted_by
from graticule.conf.parts import make_source
from graticule.data.prepare import prepare as write_store
from graticule.data.store import Store


def main(arguments: argparse.Namespace) -> None:
    """Run the verb."""
    launch(partial(prepare, overwrite=arguments.overwrite), arguments)


def prepare(request: Request, overwrite: bool = False) -> Store:
    """Write the store that a configuration names; one that is there already is kept, unless `overwrite`.

    Raises:
        ConfigError: for a wrong word.
        SourceError: if the input is missing or damaged.
        StoreError: if a store of another source is there.
        OutputError: if it cannot be written.
    """
    config = compose(request, kinds=["source"])  # nets need torch, which takes seconds to import
    path = store_path(config)
    source = make_source(config.source.model_dump(), trusted_by(request))
    if path.exists() and not overwrite:
        store = Store.open(path)
        check_source(store, config)
        tell(f"{path} is there already, prepared from the same source; --overwrite writes it anew.")
    else:
        store = write_store(source, path, overwrite=overwrite)
    tell(f"{len(store)} samples of {len(store.bands)} bands, {' x '.join(map(str, store.space))} pixels:")
    print(path)
    return store
