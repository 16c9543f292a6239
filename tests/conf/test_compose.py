import os
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given, settings
from hypothesis import strategies as st

from graticule.conf.choices import CHOICES, choices_of
from graticule.conf.compose import Request, as_yaml, checked, compose, compose_from, write_config
from graticule.conf.overrides import combinations
from graticule.conf.reference import reference
from graticule.conf.tree import Config
from graticule.errors import ConfigError

ROOT = Path(__file__).parents[2]


def composed(*words, config_file=None):
    return compose(Request(words, config_file))


def refusal(*words, config_file=None):
    with pytest.raises(ConfigError) as caught:
        composed(*words, config_file=config_file)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_words_win_over_debug_over_experiment_over_groups():
    assert composed("experiment=earth").trainer.limit_train_batches == 128
    fast = composed("experiment=earth", "debug=fast")
    assert (fast.trainer.max_epochs, fast.trainer.limit_train_batches) == (1, 2)
    assert composed("experiment=earth", "debug=fast", "trainer.max_epochs=7").trainer.max_epochs == 7
    assert composed("experiment=earth").split.seed == 1529
    assert composed().split.seed == 42


# The defaults of others, for data that only the user has.
WITHOUT_DATA = {"darts"}


@pytest.mark.parametrize("experiment", choices_of("experiment"))
def test_every_experiment_composes_and_its_head_states_command_cost_and_score(experiment):
    composed(f"experiment={experiment}")
    head = (ROOT / "src/graticule/conf/experiment" / f"{experiment}.yaml").read_text().split("defaults:")[0]
    assert f"graticule train experiment={experiment}" in head
    if experiment not in WITHOUT_DATA:
        assert "# Cost: " in head
        assert "# Expected on the test " in head


@pytest.mark.parametrize(("group", "choice"), [(g, c) for g in CHOICES for c in choices_of(g)])
def test_every_choice_composes(group, choice):
    needs = {"rasters": ["source.images=a", "source.labels=b"]}
    if group == "source":
        needs |= {name: ["source.root=a"] for name in ("dfc2021", "woodscape", "synwoodscape")}
        needs |= {"scenes": ["source.scenes=a", "source.labels=b"]}
        needs |= {name: ["source.root=a"] for name in ("fmow", "images", "mnist")}
        needs |= {"fields": ["source.root=a", "source.fields=b"], "torchgeo": ["source.root=a", "source.dataset=B"]}
    words = needs.get(choice, [])
    composed(f"{group}={choice}", *words)


def test_an_experiments_options_of_a_net_are_for_that_net():
    own = composed("experiment=earth").model
    assert composed("experiment=earth", f"model={own.name}").model == own
    assert composed("experiment=earth", "model=unet").model == composed("model=unet").model


def test_composing_leaves_no_trace():
    folder = os.getcwd()
    composed("experiment=earth_small")
    assert os.getcwd() == folder
    assert not GlobalHydra.instance().is_initialized()


def test_roots_come_from_the_environment(monkeypatch):
    monkeypatch.setenv("OUTPUT_ROOT", "/elsewhere")
    assert composed().run.output_root == "/elsewhere"


def test_options_of_net_and_source_are_those_of_their_signatures():
    config = composed("model=unet", "model.channels=5")
    assert config.model.model_dump() == {
        "name": "unet",
        "channels": 5,
        "levels": 4,
        "norm": "batch",
        "dropout": 0.0,
        "encoder_weights": None,
    }
    assert composed("source.grid=healpix:64").source.options()["grid"] == "healpix:64"


def test_a_config_is_a_value():
    config = composed()
    with pytest.raises(ValueError, match="frozen"):
        config.trainer.max_epochs = 3
    assert composed() == config


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("trainer.max_epoch=3", "the configuration has no key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        ("max_epochs=3", "the configuration has no key 'max_epochs'; did you mean 'trainer.max_epochs'?"),
        ("model.chanels=3", "the configuration has no key 'model.chanels'; did you mean 'model.channels'?"),
        ("data.augment.d5=1", "the configuration has no key 'data.augment.d5'; did you mean 'data.augment.d4'?"),
        ("~trainer.max_epoch", "the configuration has no key 'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
        ("trainer.max_epochs=abc", "trainer.max_epochs is 'abc'; it must be a whole number."),
        ("trainer.max_epochs=null", "trainer.max_epochs is null; it must be a whole number."),
        ("trainer.max_epochs=0", "trainer.max_epochs is 0; it must be at least 1."),
        ("trainer.compile=maybe", "trainer.compile is 'maybe'; it must be true or false."),
        ("model.channels=a", "model.channels is 'a'; it must be a whole number."),
        ("data=3", "data is 3; it must be keys with values, such as {a: 1}."),
        ("data.bands=red", "data.bands is 'red'; it must be a list, such as [a,b]."),
        ("trainer.devices=x", "trainer.devices is 'x'; it must be a whole number or a list, such as [a,b] or 'auto'."),
        (
            "optim.optimizer.name=adamx",
            "optim.optimizer.name is 'adamx', which does not exist; did you mean 'adam'?",
        ),
        (
            "task.losses={landcover: [{name: focl}]}",
            "task.losses.landcover.0.name is 'focl', which does not exist; did you mean 'focal'?",
        ),
        ("evaluate.parts=[tst]", "evaluate.parts.0 is 'tst', which does not exist; did you mean 'test'?"),
        ("split.shares=[0.5,0.2,0.2]", "split.shares [0.5, 0.2, 0.2] add to 0.9; they must add to 1."),
        ("split.fold=9", "split.fold is 9; it must be below split.total_folds=5."),
        ("model=unett", "no model is named 'unett'; did you mean 'unet'?"),
        ("experiment=earth_smal", "no experiment is named 'earth_smal'; did you mean 'earth_small'?"),
        ("model.name=unett", "no model is named 'unett'; did you mean 'unet'?"),
        ("earth", "'earth' is no override; write key=value, for example trainer.max_epochs=3."),
        (
            "run.seed=1,2",
            "'run.seed=1,2' gives several values; add -m to run each of them, or write a list as 'run.seed=[...]'.",
        ),
        (
            "model.name=no_such:Net",
            "model 'no_such:Net' cannot be imported (No module named 'no_such'); give it as package.module:Class.",
        ),
        ("model=null", "model is null; choose one of: " + ", ".join(choices_of("model")) + "."),
    ],
)
def test_a_wrong_word_is_named_with_the_nearest_right_one(word, message):
    assert refusal(word) == message


def test_a_missing_option_is_named():
    assert refusal("source=rasters") == "source.images is missing; give it as source.images=..."


@settings(deadline=None)
@given(st.text(alphabet="abcdefghijklmnopqrstuvwxyz_", min_size=1, max_size=12))
def test_no_unknown_key_passes(name):
    if name not in Config.model_fields:
        with pytest.raises(ConfigError, match=f"no key '{name}'"):
            checked({"source": {"name": "earth"}, "model": {"name": "unet"}, name: 1}, kinds=())


def write(path, text):
    path.write_text(text)
    return path


FILES = {
    "nested.yaml": "experiment: earth_small\ntrainer:\n  max_epochs: 3\n",
    "dotted.yaml": "experiment: earth_small\ntrainer.max_epochs: 3\n",
    "nested.toml": 'experiment = "earth_small"\n[trainer]\nmax_epochs = 3\n',
    "dict.py": 'config = {"experiment": "earth_small", "trainer": {"max_epochs": 3}}\n',
    "dotted.py": 'config = {"experiment": "earth_small", "trainer.max_epochs": 3}\n',
    "words.py": 'config = ["experiment=earth_small", "trainer.max_epochs=3"]\n',
    "function.py": 'def get_config():\n    return {"experiment": "earth_small", "trainer.max_epochs": 1 + 2}\n',
}


@pytest.mark.parametrize("name", FILES)
def test_all_forms_of_a_config_file_mean_the_same(name, tmp_path):
    file = write(tmp_path / name, FILES[name])
    assert composed(config_file=file) == composed("experiment=earth_small", "trainer.max_epochs=3")
    assert composed("trainer.max_epochs=9", config_file=file).trainer.max_epochs == 9


def test_a_section_in_a_file_is_merged_and_a_mapping_replaced(tmp_path):
    file = write(tmp_path / "a.yaml", "task: {losses: {height: [{name: l2}]}}\ndata: {augment: {d4: false}}\n")
    config = composed("experiment=earth", config_file=file)
    assert list(config.task.losses) == ["height"]
    assert config.task.ema_decay == composed("experiment=earth").task.ema_decay
    assert config.data.batch_size == composed("experiment=earth").data.batch_size


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.yaml", "a: [1\n", "is no valid YAML"),
        ("a.toml", "a = \n", "is no valid TOML (Invalid value (at line 1, column 5)); mend it."),
        ("a.py", "x = 1\nconfig = y\n", "raised NameError in line 2: name 'y' is not defined; mend it."),
        ("a.py", "x = 1\n", "defines neither `config` nor `get_config()`; define one of them."),
        ("a.py", "config = 3\n", "holds int; it must hold keys with values."),
        ("a.json", "{}", "ends in '.json'; a config file ends in .py, .toml or .yaml."),
    ],
)
def test_a_wrong_file_is_one_line(name, text, message, tmp_path):
    assert message in refusal(config_file=write(tmp_path / name, text))


def test_a_missing_file_names_the_nearest(tmp_path):
    write(tmp_path / "my_run.toml", "")
    file = tmp_path / "my_runn.toml"
    assert refusal(config_file=file) == f"there is no config file {file}; did you mean 'my_run.toml'?"


def test_a_python_file_that_is_a_job_script_does_not_start_itself(tmp_path):
    text = (
        "#!/usr/bin/env python\n#SBATCH --time=1:00:00\n"
        'config = {"trainer.max_epochs": 3}\n'
        'if __name__ == "__main__":\n    raise SystemExit("started")\n'
    )
    assert composed(config_file=write(tmp_path / "job.py", text)).trainer.max_epochs == 3


def test_the_resolved_config_is_read_again(tmp_path):
    config = composed("experiment=earth", "model=segmentation_cnn", "model.depth=3", "source.grid=healpix:64")
    write_config(tmp_path / "config.yaml", config)
    assert composed(config_file=tmp_path / "config.yaml") == config
    assert compose_from(tmp_path / "config.yaml", Request(), ()) == config
    changed = compose_from(tmp_path / "config.yaml", Request(["evaluate.bootstrap=3"]), ("evaluate",))
    assert changed.evaluate.bootstrap == 3


def test_code_is_imported_only_if_the_command_line_names_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "evilnets.py", "raise SystemExit('imported')\n")
    file = write(tmp_path / "a.yaml", "model: {name: evilnets:Net}\n")
    told = "model 'evilnets:Net' is code of the package 'evilnets', which the command line does not name; "
    assert refusal(config_file=file) == told + "add --trust evilnets if you trust it."


def test_combinations_are_all_in_order():
    assert combinations(["a=1,2", "b=x", "c=[1,2],3"]) == [
        ["a=1", "b=x", "c=[1,2]"], ["a=1", "b=x", "c=3"], ["a=2", "b=x", "c=[1,2]"], ["a=2", "b=x", "c=3"],
    ]  # fmt: skip
    assert combinations(["a=range(1,4)"]) == [["a=1"], ["a=2"], ["a=3"]]


def test_the_reference_is_that_of_the_configuration():
    page = (ROOT / "docs/reference/configuration.md").read_text()
    assert page == reference(), "run tools/config_reference.py"


def test_yaml_has_all_sections():
    assert [line.split(":")[0] for line in as_yaml(composed()).splitlines() if not line.startswith((" ", "-"))] == list(
        Config.model_fields
    )
