"""What the options and commands of DARTS are here: the one table, and the translation by it.

A TOML file with a table `[darts]` (sub-tables of any name in it) is read by these names, and so are flags of the
commands below. `-` and `_` are alike. What DARTS no longer knows, and what nobody knows, is an error that names what to
write; what has no meaning here (`IGNORED`) is left out.
"""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from graticule.errors import ConfigError, nearest

Values = dict[str, Any]

KEYS: dict[str, str] = {
    # data and splits
    "train_data_dir": "data.store",
    "batch_size": "data.batch_size",
    "num_workers": "data.num_workers",
    "data_split_method": "split.method",
    "data_split_by": "split.by",
    "fold_method": "split.fold_method",
    "total_folds": "split.total_folds",
    "fold": "split.fold",
    # the training
    "name": "run.name",
    "run_name": "run.name",
    "random_seed": "run.seed",
    "artifact_dir": "run.output_root",
    "model_arch": "model.architecture",
    "model_encoder": "model.encoder",
    "model_encoder_weights": "model.encoder_weights",
    "weights_from_checkpoint": "task.weights_from_checkpoint",
    "learning_rate": "optim.optimizer.lr",
    "max_epochs": "trainer.max_epochs",
    "log_every_n_steps": "trainer.log_every_n_steps",
    "check_val_every_n_epoch": "trainer.val_every_n_epochs",
    "accelerator": "trainer.accelerator",
    "strategy": "trainer.strategy",
    "num_nodes": "trainer.num_nodes",
    "plot_every_n_val_epochs": "callbacks.pictures.every_n_validations",
    "save_top_k": "callbacks.checkpoint.top_k",
    # cross-validation and tuning
    "cv_name": "crossval.name",
    "n_folds": "crossval.n_folds",
    "n_randoms": "crossval.n_randoms",
    "scoring_metric": "crossval.scoring_metric",
    "multi_score_strategy": "crossval.multi_score_strategy",
    "tune_name": "tune.name",
    "sweep_id": "tune.name",
    "n_trials": "tune.n_trials",
    "sweep_db": "tune.storage",
    "sweep_config": "tune.hpconfig",
    "hpconfig": "tune.hpconfig",
    "retrain_and_test": "tune.retrain_and_test",
    # preparation
    "data_dir": "source.scenes",
    "labels_dir": "source.labels",
    "arcticdem_dir": "source.heights",
    "tcvis_dir": "source.trend",
    "admin_dir": "source.regions",
    "tpi_outer_radius": "source.outer",
    "tpi_inner_radius": "source.inner",
    "patch_size": "source.window",
    "overlap": "source.overlap",
    "exclude_nopositive": "source.exclude_nopositive",
    "exclude_nan": "source.exclude_nan",
    # prediction
    "quality_level": "predict.quality_level",
    "mask_erosion_size": "predict.mask_erosion_size",
    "edge_erosion_size": "predict.edge_erosion_size",
    "min_object_size": "predict.min_object_size",
    "binarization_threshold": "predict.binarization_threshold",
    "reflection": "predict.reflection",
    "output_data_dir": "predict.output",
}
"""Options that only have another name here."""

IGNORED: dict[str, str] = {
    "ee_project": "nothing is fetched from Earth Engine; the trends are files",
    "ee_use_highvolume": "nothing is fetched from Earth Engine",
    "preprocess_cache": "features are made while the store is written, without a cache of rounded values",
    "force_preprocess": "there is no such cache",
    "in_memory": "the store is read as fast as memory is copied",
    "advanced_profiler": "it never had an effect",
}
"""Options without a meaning here, and why."""

LEGACY: dict[str, str] = {
    "test_val_split": 'data-split-method = "random" and data-split-by = 0.05, the share that tests',
    "test_regions": 'data-split-method = "region" and data-split-by = [...]',
    "trial_name": "cv-name, the name of the cross-validation",
    "norm_factors": "nothing: the store holds the ranges of its bands",
    "input_combination": "bands, their names in order",
    "subsample": "nothing; trainer.limit_train_batches of `graticule train` takes a part of each epoch",
    "continue_from_checkpoint": "nothing; go on with `graticule resume RUN --checkpoint WHICH`",
    "run_id": "nothing; a run gets its own id",
}
"""Options of older versions, or of another command here, and what to write instead."""

_AUGMENTATIONS: dict[str, Values] = {
    "D4": {"d4": True},
    "HorizontalFlip": {"horizontal_flip": True},
    "VerticalFlip": {"vertical_flip": True},
    "RandomRotate90": {"rotate": True},
    "Blur": {"blur": 7},
    "RandomBrightnessContrast": {"brightness": 0.2, "contrast": 0.2},
    "MultiplicativeNoise": {"noise": 0.1},
    "Posterize": {"posterize": 6},
}
"""Augmentations by the names of albumentations, with its usual strengths."""


def _augment(value: Any) -> Values:
    if value in (None, False, "none"):
        return {"data.augment": {"d4": False}}
    names = list(_AUGMENTATIONS)[:1] + list(_AUGMENTATIONS)[4:] if value is True else value
    made: Values = {}
    for name in [names] if isinstance(names, str) else names:
        if name not in _AUGMENTATIONS:
            raise ConfigError(f"[darts] augment has '{name}'; {nearest(str(name), _AUGMENTATIONS)}")
        made |= _AUGMENTATIONS[name]
    return {f"data.augment.{key}": setting for key, setting in made.items()}


def _device(value: Any) -> Values:
    number = str(value).removeprefix("cuda:")
    if number.isdigit():
        return {"trainer.accelerator": "gpu", "trainer.devices": [int(number)]}
    return {"trainer.accelerator": {"cuda": "gpu"}.get(str(value), value), "trainer.devices": 1}


def _devices(value: Any) -> Values:
    listed = value if isinstance(value, list) else [value]
    return {"trainer.devices": "auto" if listed in (["auto"], []) else [int(one) for one in listed]}


SPECIAL: dict[str, Callable[[Any], Values]] = {
    "bands": lambda value: {"data.bands": value},
    "gamma": lambda value: {"optim.schedule": {"name": "exponential", "gamma": value}},
    "early_stopping_patience": lambda value: {"callbacks.early_stopping.patience": value or None},
    "augment": _augment,
    "device": _device,
    "devices": _devices,
    "wandb_project": lambda value: {"tracker.project": value},
    "wandb_entity": lambda value: {"tracker.entity": value},
}
"""Options whose value or shape is another here."""

_FOCAL, _WANDB = ("focal_loss_alpha", "focal_loss_gamma"), ("wandb_project", "wandb_entity")


def flat(table: Mapping[str, Any]) -> Values:
    """The leaves of a `[darts]` table by name, whatever sub-table they are in.

    Raises:
        ConfigError: if two sub-tables have the same leaf.
    """
    found: Values = {}
    for key, value in table.items():
        inner = flat(value) if isinstance(value, Mapping) else {key.replace("-", "_"): value}
        for name, leaf in inner.items():
            if name in found:
                raise ConfigError(f"[darts] has '{name}' twice; keep one of them.")
            found[name] = leaf
    return found


def translated(leaves: Mapping[str, Any], *, preparing: bool = False) -> tuple[dict[str, str], Values]:
    """The groups to choose and the values to set for options of DARTS.

    What is not said is as DARTS has it (`experiment=darts`).

    Args:
        leaves: options by name, with `_`.
        preparing: whether a store is to be written: `bands` then says what it holds, not what is trained on.

    Raises:
        ConfigError: for an option that is of an older version or unknown.
    """
    values: Values = {}
    for name, value in leaves.items():
        if name in LEGACY:
            raise ConfigError(f"[darts] '{name}' is of an older version, or of another command; write {LEGACY[name]}.")
        if name in (*IGNORED, *_FOCAL):
            continue
        if name == "bands" and preparing:
            values["source.bands"] = value
        elif name in SPECIAL:
            values |= SPECIAL[name](value)
        elif name in KEYS:
            values[KEYS[name]] = None if value == "none" and name == "model_encoder_weights" else value
        else:
            known = [*KEYS, *SPECIAL, *_FOCAL, *IGNORED]
            raise ConfigError(f"[darts] has no option '{name}'; {nearest(name, known)}")
    focal = {name.removeprefix("focal_loss_"): leaves[name] for name in _FOCAL if name in leaves}
    if focal:
        told = {key: value for key, value in focal.items() if value is not None}
        values["task.losses.any"] = [{"name": "focal", "gamma": 2.0, **told}]
    if all(leaves.get(name) for name in _WANDB):
        values["tracker.names"] = ["csv", "wandb"]
    groups = {"experiment": "darts"}
    if any(key.startswith("source.") for key in values):
        groups["source"] = "scenes"
    return groups, values


# Commands ------------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "preprocess-s2-train-data": ("prepare", ("source=scenes", "source.kind=sentinel2")),
    "preprocess-planet-train-data": ("prepare", ("source=scenes", "source.kind=planet")),
    "create-dataset sentinel2": ("prepare", ("source=scenes", "source.kind=sentinel2")),
    "create-dataset planet": ("prepare", ("source=scenes", "source.kind=planet")),
    "train-smp": ("train", ()),
    "test-smp": ("test", ()),
    "crossval-smp": ("crossval", ()),
    "tune-smp": ("tune", ()),
    "optuna-sweep-smp": ("tune", ()),
    "convert-lightning-checkpoint": ("convert", ()),
}
"""Commands of DARTS, also after `training`: our verb and the words that it begins with."""

_OURS = re.compile(
    r"(source|data|split|model|task|optim|trainer|tracker|callbacks|run|evaluate|predict|prepare|crossval|tune|experiment"
    r"|debug)(\.[\w.]+)?="
)
_NAMES = {"train": "run.name", "crossval": "crossval.name", "tune": "tune.name"}


def our_words(words: Sequence[str]) -> list[str] | None:
    """What a command line of DARTS is here; None if it is none of its commands.

    Raises:
        ConfigError: for an option that is unknown or of an older version, or a file that cannot be read.
    """
    words = list(words[1:]) if words[:1] == ["training"] else list(words)
    length = 2 if words[:1] == ["create-dataset"] else 1
    command = " ".join(words[:length])
    if command not in COMMANDS:
        return None
    verb, first = COMMANDS[command]
    leaves, rest = _flags(words[length:])
    if "help" in leaves:
        return [verb, "--help"]
    file = leaves.pop("config_file", None)
    from_file = read_darts(Path(str(file))) if file else {}
    leaves = from_file | leaves
    if verb == "convert":
        return ["convert", *_convert(leaves), *rest]
    if verb == "test":
        return ["test", *_tested(leaves, rest)]
    ours: list[str] = []
    if verb == "tune":
        ours += [word for name in ("sweep_id", "device") if name in leaves for word in _option(name, leaves.pop(name))]
    groups, values = translated(leaves, preparing=verb == "prepare")
    if "run.name" in values and verb in _NAMES:
        values[_NAMES[verb]] = values.pop("run.name")
    groups = {name: choice for name, choice in groups.items() if f"{name}={choice}" not in first}
    chosen = [f"{name}={choice}" for name, choice in groups.items()]
    return [verb, *ours, *chosen, *first, *(f"{key}={_written(value)}" for key, value in values.items()), *rest]


def read_darts(path: Path) -> Values:
    """The options in the `[darts]` table of a TOML file.

    Raises:
        ConfigError: if there is no such file or table.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"there is no config file {path}; check the path.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no valid TOML ({error}); mend it.") from error
    if not isinstance(content.get("darts"), dict):
        raise ConfigError(f"{path} has no table [darts]; put the options under it.")
    return flat(content["darts"])


def _flags(words: Sequence[str]) -> tuple[Values, list[str]]:
    """Options `--name value ...`, `--name=value`, `--name`, `--no-name`; and the words that are none."""
    leaves: Values = {}
    rest, name = [], ""
    for word in words:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            if not equals and name.startswith("no_"):
                leaves[name.removeprefix("no_")], name = False, ""
            elif equals:
                leaves[name], name = _read(value), ""
            else:
                leaves.setdefault(name, True)
        elif name and not _OURS.match(word):
            before = leaves[name]
            listed = before if isinstance(before, list) else [before]
            leaves[name] = _read(word) if before is True else [*listed, _read(word)]
        else:
            rest.append(word)
    return leaves, rest


def _read(text: str) -> Any:
    plain: Values = {"true": True, "false": False, "none": None}
    if text.lower() in plain:
        return plain[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _written(value: Any) -> str:
    """A value in the grammar of our words."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_written(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_written(inner) for inner in value) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float) or (re.fullmatch(r"[A-Za-z_./][\w./-]*", value) and _read(value) == value):
        return str(value)
    quoted = str(value).replace("'", "\\'")
    return f"'{quoted}'"


def _option(name: str, value: Any) -> list[str]:
    return [f"--{name.replace('_', '-')}", str(value)]


def _convert(leaves: Mapping[str, Any]) -> list[str]:
    folder = Path(str(leaves.get("out_directory", ".")))
    source = leaves.get("lightning_checkpoint")
    name = leaves.get("checkpoint_name") or (Path(str(source)).stem if source else "model")
    return [*([str(source)] if source else []), "--out", str(folder / str(name))]


def _tested(leaves: Mapping[str, Any], rest: Sequence[str]) -> list[str]:
    """The run by its folder, or by its name and id; the checkpoint."""
    run = [part for part in (leaves.get("run_name"), leaves.get("run_id")) if part]
    words = ["-".join(map(str, run))] if run else []
    if run and leaves.get("artifact_dir"):
        words = [str(Path(str(leaves["artifact_dir"])) / "_runs" / words[0])]
    checkpoint = leaves.get("model_ckp")
    return [*words, *rest, *(["--checkpoint", str(checkpoint)] if checkpoint else [])]
