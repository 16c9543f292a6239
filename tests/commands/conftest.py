from pathlib import Path

import pytest
from tiny_earth import TINY

from graticule.cli import main


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    """A folder with a store of the tiny Earth in `stores` and a run that `train` has made in `runs`."""
    folder = tmp_path_factory.mktemp("world")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name in ("DATA_ROOT", "OUTPUT_ROOT", "SLURM_JOB_ID", "RANK", "LOCAL_RANK", "SLURM_PROCID"):
            patch.delenv(name, raising=False)
        assert main(["prepare", *TINY]) == 0
        assert main(["train", *TINY, "run.name=tiny"]) == 0
    return folder


@pytest.fixture
def here(world, monkeypatch):
    """The world, as the working folder."""
    monkeypatch.chdir(world)
    return world


@pytest.fixture
def run(here):
    """The folder of the run."""
    (folder,) = Path("runs/_runs").glob("tiny-*")
    return folder
