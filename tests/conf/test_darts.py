"""Options and commands of DARTS: its guide's file, its flags, and what is an error."""

from pathlib import Path

import pytest

from graticule.conf.compose import Request, compose
from graticule.conf.darts import COMMANDS, IGNORED, KEYS, LEGACY, SPECIAL, flat, our_words, translated
from graticule.errors import ConfigError

GUIDE = Path(__file__).parents[2] / "docs" / "coming-from" / "darts.md"


def guide_file():
    """The example file of the docs."""
    text = GUIDE.read_text()
    return text.split('```toml title="guide.toml"\n')[1].split("```")[0]


@pytest.fixture
def guide(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("guide.toml").write_text(guide_file())
    return Path("guide.toml")


def test_the_file_of_the_guide_trains_as_it_says(guide):
    config = compose(Request(["source=earth"], guide), kinds=["model"])
    assert config.data.store == "/fast-storage/training/planet_native_tcvis_896_partial"
    assert (config.data.batch_size, config.data.num_workers) == (6, 16)
    assert (config.trainer.max_epochs, config.trainer.val_every_n_epochs) == (60, 5)
    assert config.callbacks.early_stopping.patience is None  # 0 in the file
    assert config.callbacks.pictures.every_n_validations == 4
    assert config.split.by == ["Taymyrsky Dolgano-Nenetsky District"]
    assert config.tracker.names == ["csv", "wandb"]
    assert config.data.augment.d4
    assert config.data.bands[:2] == ["blue", "green"]
    assert config.model.options() | {"options": None} == {
        "architecture": "unet", "encoder": "dpn107", "encoder_weights": None, "options": None
    }  # fmt: skip
    assert config.optim.schedule.name == "exponential"
    assert config.crossval.n_folds == config.crossval.n_randoms == 3
    assert config.tune.storage == "postgresql://pguser@localhost:5432/sweeps"


def test_words_win_over_the_file(guide):
    words = ["source=earth", "trainer.max_epochs=1", "model.encoder=resnet18"]
    config = compose(Request(words, guide), kinds=["model"])
    assert (config.trainer.max_epochs, config.model.options()["encoder"]) == (1, "resnet18")


def test_preparation_options_are_those_of_the_source_of_scenes(guide):
    config = compose(Request([], guide), kinds=[])
    source = config.source.model_dump()
    assert (source["name"], source["window"], source["outer"]) == ("scenes", 896, 100)
    assert source["labels"].endswith("retrogressive_thaw_slumps")


def test_every_name_leads_to_a_key_that_exists():
    config = compose(Request(["experiment=darts"]), kinds=[])
    tree = config.to_dict()
    for name, key in KEYS.items():
        section, _, leaf = key.rpartition(".")
        inner = tree
        for part in section.split("."):
            inner = inner[part]
        known = section in ("source", "model") or leaf in inner
        assert known, (name, key)
    assert not set(KEYS) & (set(SPECIAL) | set(IGNORED) | set(LEGACY))


@pytest.mark.parametrize(
    ("leaves", "line"),
    [
        ({"max_epoch": 3}, "[darts] has no option 'max_epoch'; did you mean 'max_epochs'?"),
        ({"test_regions": ["A"]}, "[darts] 'test_regions' is of an older version, or of another command; write "
         'data-split-method = "region" and data-split-by = [...].'),
        ({"augment": ["Blurr"]}, "[darts] augment has 'Blurr'; did you mean 'Blur'?"),
    ],
)  # fmt: skip
def test_what_nobody_knows_and_what_is_old_is_an_error(leaves, line):
    with pytest.raises(ConfigError) as error:
        translated(leaves)
    assert str(error.value) == line


def test_the_same_option_twice_is_an_error():
    with pytest.raises(ConfigError, match="has 'batch_size' twice"):
        flat({"training": {"batch-size": 4}, "other": {"batch_size": 8}})


def test_values_that_are_another_here():
    _, values = translated(
        {"gamma": 0.997, "focal_loss_alpha": 0.9, "early_stopping_patience": 5, "augment": ["D4", "Blur"], "device": 1}
    )
    assert values["optim.schedule"] == {"name": "exponential", "gamma": 0.997}
    assert values["task.losses.any"] == [{"name": "focal", "gamma": 2.0, "alpha": 0.9}]
    assert values["callbacks.early_stopping.patience"] == 5
    assert (values["data.augment.d4"], values["data.augment.blur"]) == (True, 7)
    assert (values["trainer.accelerator"], values["trainer.devices"]) == ("gpu", [1])


@pytest.mark.parametrize(
    ("words", "ours"),
    [
        ("train-smp --train-data-dir stores/a --batch-size 4 --bands red --bands nir --no-retrain-and-test",
         "train experiment=darts data.store=stores/a data.batch_size=4 data.bands=[red, nir] "
         "tune.retrain_and_test=false"),
        ("training crossval-smp --n_folds=2 --name first trainer=cpu",
         "crossval experiment=darts crossval.n_folds=2 crossval.name=first trainer=cpu"),
        ("optuna-sweep-smp --sweep-id s1 --device 0", "tune --sweep-id s1 --device 0 experiment=darts"),
        ("preprocess-s2-train-data --data-dir in --labels-dir l --bands red green",
         "prepare experiment=darts source=scenes source.kind=sentinel2 source.scenes=in source.labels=l "
         "source.bands=[red, green]"),
        ("test-smp --run-name calm-bay-1 --run-id ab12cd34", "test calm-bay-1-ab12cd34"),
        ("convert-lightning-checkpoint --lightning-checkpoint a.ckpt --out-directory out --checkpoint-name rts",
         "convert a.ckpt --out out/rts"),
        ("train-smp --help", "train --help"),
    ],
)  # fmt: skip
def test_commands_of_darts_are_ours(words, ours):
    assert " ".join(our_words(words.split())) == ours


def test_other_words_are_none_of_its_commands():
    assert our_words(["trian"]) is None
    assert our_words(["training"]) is None
    assert {verb for verb, _ in COMMANDS.values()} == {"prepare", "train", "test", "crossval", "tune", "convert"}


def test_flags_win_over_the_file(guide):
    words = our_words(["train-smp", "--config-file", str(guide), "--max-epochs", "2", "source=earth"])
    config = compose(Request(words[1:]), kinds=["model"])
    assert (config.trainer.max_epochs, config.data.batch_size) == (2, 6)


def test_a_file_without_the_table_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text("[training]\nmax-epochs = 3\n")
    with pytest.raises(ConfigError, match=r"has no table \[darts\]"):
        our_words(["train-smp", "--config-file", str(tmp_path / "a.toml")])
