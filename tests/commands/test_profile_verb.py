"""`graticule profile` from the command line: what lands in its folder, and what is refused."""

import json
from pathlib import Path

import pytest
from PIL import Image

from graticule.cli import main
from graticule.reporting.profile_words import advice_on_data, advice_on_model, enough_workers
from worlds import healpix_world, raster_world

DATA = [
    "profile", "data", "data.store=store", "split=random", "data.batch_size=4", "data.augment.d4=true",
    "profile.batches=2", "profile.loops=2", "profile.workers=[0,2]", "profile.name=pace",
]  # fmt: skip
MODEL = [
    "profile", "model", "model=unet", "model.channels=4", "model.levels=2", "data.batch_size=4", "trainer=cpu",
    "profile.steps=2", "profile.name=cost",
]  # fmt: skip


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATA_ROOT", "OUTPUT_ROOT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def profile(words, capsys):
    """The profile that the words make, what was shown, and its folder."""
    assert main(words) == 0
    shown = capsys.readouterr().out
    folder = Path(shown.splitlines()[-1])
    return json.loads((folder / "profile.json").read_text()), shown, folder


@pytest.mark.parametrize("world", [raster_world, healpix_world])
def test_data(world, desk, capsys):
    store = world(desk / "store")
    found, shown, folder = profile(DATA, capsys)
    assert folder.parent == Path("runs/_profiles")
    assert folder.name.startswith("pace-")
    assert sorted(path.name for path in folder.iterdir()) == ["config.yaml", "profile.json", "profile.png"]
    assert Image.open(folder / "profile.png").size[0] > 1000
    assert (found["kind"], found["store"]["samples"], found["store"]["space"]) == (
        "data",
        len(store),
        list(store.space),
    )
    assert list(found["setup"]) == ["open the store", "split", "statistics", "order of an epoch", "first batch"]
    assert [row["num_workers"] for row in found["workers"]] == [0, 2]
    for row in [*found["workers"], found["limits"]["bare_reads"]]:
        # Two rounds of two batches of four samples, of two bands and a label of a byte and a height of four.
        assert row["samples_per_second"] == pytest.approx(8 / (sum(row["rounds"]) / 2))
        assert row["bytes_per_second"] == pytest.approx(row["samples_per_second"] * 7 * store.grid(0).areas().size)
        assert 0 < row["batch_p50"] <= row["batch_p95"]
    assert [row["step"] for row in found["steps"]][:4] == ["read", "mask", "augment", "collate"]
    assert sum(row["share"] for row in found["steps"]) == pytest.approx(1)
    assert found["recommended_workers"] == enough_workers(found["workers"])
    assert found["limits"]["memcpy_bytes_per_second"] > 0
    assert all(sentence[:60] in " ".join(shown.split()) for sentence in found["advice"])


def test_model_on_a_store_and_its_trace(desk, capsys):
    raster_world(desk / "store")
    words = [*MODEL, "data.store=store", "split=random", "profile.trace=true", "trainer.limit_train_batches=3"]
    words += ["task.ema_decay=0.9", "data.augment.brightness=0.1", "trainer.max_epochs=2"]
    found, shown, folder = profile(words, capsys)
    names = ["config.yaml", "profile.json", "profile.png", "trace.json", "trace.txt"]
    assert sorted(path.name for path in folder.iterdir()) == names
    assert found["batch"] == {"samples": 4, "shape": [2, 6, 6]}
    assert found["epoch"]["steps"] == 3
    step, data = found["step"]["median"], 4 / found["loader"]["samples_per_second"]
    assert found["epoch"]["train_seconds"] == pytest.approx(3 * (step + data)), "without threads they take turns"
    assert found["epoch"]["val_batches"] > 0
    assert found["epoch"]["val_seconds"] > 0
    assert found["epoch"]["all_seconds"] == 2 * (found["epoch"]["train_seconds"] + found["epoch"]["val_seconds"])
    assert found["memory"]["largest_batch"]["samples"] > 4
    assert sum(row["parameters"] for row in found["modules"]) == found["parameters"] == found["trained"]
    assert "training step" in shown


@pytest.mark.parametrize(
    ("words", "shape"),
    [
        (["profile.shape=[3,8,8]", "profile.outputs=1"], [3, 8, 8]),
        (["profile.shape=[3,128]", "profile.base_pixels=[1,5]"], [3, 128]),
        (["model=heal_swin", "model.depths=[2,2]", "model.num_heads=[2,2]", "model.embed_dim=4", "model.window_size=4",
          "profile.shape=[3,512]", "profile.base_pixels=[1,5]"], [3, 512]),
    ],
)  # fmt: skip
def test_model_without_a_store(words, shape, desk, capsys):
    given = [word for word in MODEL if not (words[0].startswith("model=") and word.startswith(("model=", "model.")))]
    found, _, folder = profile([*given, *words, "profile.largest_batch=false"], capsys)
    assert found["batch"]["shape"] == shape
    assert found["flops"]["training_per_sample"] > 2 * found["flops"]["forward_per_sample"] > 0
    assert found["memory"]["largest_batch"] is None
    assert "epoch" not in found
    assert (folder / "profile.png").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (DATA, "there is no store at store; write it first: graticule prepare "),
        ([*MODEL, "data.store=store"], "there is no store at store; write it first: graticule prepare "),
        ([*DATA, "profile.workers=[]"], "profile.workers is []; "),
        ([*DATA, "profile.workers=[-1]"], "profile.workers"),
        ([*DATA, "profile.batch=3"], "no key 'profile.batch'; did you mean 'profile.batches'?"),
        ([*MODEL, "model=unett"], "no model is named 'unett'; did you mean 'unet'?"),
        ([*MODEL, "profile.shape=[3]"], "profile.shape is [3]; "),
        ([*MODEL, "profile.shape=[3,50]"], "a window has 50 cells; a planar net needs 4^k nested cells of one parent."),
        ([*MODEL, "profile.base_pixels=[1]"], "profile.base_pixels needs profile.shape=[bands,cells]"),
        (["profile", "net"], "argument what: invalid choice: 'net'"),
        (["profile"], "the following arguments are required: what"),
    ],
)
def test_what_is_refused_leaves_nothing(words, line, desk, capsys):
    assert main(words) == 2
    told = capsys.readouterr().err
    assert told.startswith("graticule: error: ")
    assert line in told
    assert len(told.splitlines()) == 1
    assert list(desk.iterdir()) == []


def rows(*rates):
    return [{"num_workers": n, "samples_per_second": rate, "bytes_per_second": 1e6 * rate} for n, rate in rates]


def test_the_fewest_threads_that_are_nearly_as_fast_are_advised():
    assert enough_workers(rows((0, 100), (1, 194), (2, 200), (4, 199))) == 1
    assert enough_workers(rows((0, 100), (2, 99))) == 0


def test_words_on_data_name_the_threads_and_the_bottleneck():
    told = {
        "workers": rows((0, 100), (2, 250)), "configured_workers": 0, "recommended_workers": 2, "device": "cuda",
        "steps": [{"step": "read", "seconds": 0.1, "share": 0.2}, {"step": "augment", "seconds": 0.4, "share": 0.8}],
        "limits": {"memcpy_bytes_per_second": 500e6}, "first_pass": {"samples_per_second": 25.0},
    }  # fmt: skip
    threads, step, memory, first = advice_on_data(told)
    assert threads == "Set data.num_workers=2: 250 samples/s, 2.50 times those of 0, which is set."
    assert "80%, goes into 'augment'" in step
    assert memory == "Batches come at 50% of the speed at which this machine copies memory."
    assert first.startswith("The first pass was 4.0 times slower than later ones")
    kept = advice_on_data(told | {"recommended_workers": 0, "workers": rows((0, 100), (2, 104))})
    assert kept[0] == "data.num_workers=0, which is set, is right: it comes within 5 % of the fastest."
    assert kept[2] == "Threads help little there: most of that step holds Python's lock, one thread at a time."


@pytest.mark.parametrize(
    ("workers", "rate", "sentence"),
    [
        (0, 300.0, "With data.num_workers=0 the net waits 25% of the time for data; `graticule profile data` "),
        (2, 50.0, "Data are the bottleneck: 50 samples/s with data.num_workers=2, and the net could take 100; see "),
        (2, 300.0, "The net is the bottleneck: 100 samples/s, and data come at 300."),
    ],
)  # fmt: skip
def test_words_on_a_model_say_who_waits(workers, rate, sentence):
    seconds = {"transfer": 0.0, "forward": 0.01, "backward": 0.02, "optimiser": 0.01}
    told = advice_on_model({
        "batch": {"samples": 4}, "step": {"seconds": seconds, "samples_per_second": 100.0},
        "loader": {"num_workers": workers, "samples_per_second": rate},
        "memory": {"largest_batch": {"samples": 64, "how": "estimated"}},
    })  # fmt: skip
    assert told[0] == "A step of 4 samples takes 40 ms: forward 25%, backward 50%, optimiser 25%."
    assert any(line.startswith(sentence) for line in told)
    assert told[-1] == "About 64 samples fit into one batch; that is estimated from free memory."
