"""Values of hyperparameters in the tree: which key a name means, and the tree with other values."""

import copy
from collections.abc import Collection, Mapping
from typing import Any, get_args

from graticule.conf.choices import CHOICES, choices_of
from graticule.conf.compose import checked
from graticule.conf.course import NETS as COURSE_NETS
from graticule.conf.course import course_key, course_option
from graticule.conf.kinds import TaskName
from graticule.conf.tree import Config
from graticule.errors import ConfigError, nearest

OTHER_NAMES = {
    "learning_rate": "optim.optimizer.lr",
    "batch_size": "data.batch_size",
    "max_epochs": "trainer.max_epochs",
    "weight_decay": "optim.optimizer.weight_decay",
    "gamma": "optim.schedule.gamma",
    "augment": "data.augment",
    "bands": "data.bands",
    "selected_bands": "data.bands",
    "model_type": "model",
    "model_arch": "model.architecture",
    "model_encoder": "model.encoder",
    "model_encoder_weights": "model.encoder_weights",
}
"""Names that hyperparameters have in DARTS and in the course, and the keys that they mean here."""

_LOSS_OPTIONS = {"focal_loss_alpha": ("focal", "alpha"), "focal_loss_gamma": ("focal", "gamma")}
_FIXED = (
    "run",
    "crossval",
    "tune",
    "hyperparameters",
    "source",
    "prepare",
    "evaluate",
    "predict",
    "tracker",
    "split.fold",
    "data.store",
)


def find_key(name: str, config: Config) -> str:
    """The key of the configuration that a hyperparameter's name means.

    A name is a dotted key, a group (`model`), a name of DARTS or of the course, or the last part of a key where only
    one key has it. Numbers in a key count entries of lists: task.losses.landcover.0.weight.

    Raises:
        ConfigError: for an unknown or ambiguous name, and for a key that no trial may change.
    """
    tree = config.to_dict()
    key = _find(name.replace("-", "_"), tree)
    for fixed in _FIXED:
        if key == fixed or key.startswith(fixed + "."):
            raise ConfigError(f"hyperparameter '{name}' means {key}, which all trials of a study share; leave it out.")
    return key


def _find(name: str, tree: Mapping[str, Any]) -> str:
    if name in CHOICES or _has(tree, name):
        return name
    if name in OTHER_NAMES:
        return OTHER_NAMES[name]
    if of_course := course_key(name, str(tree["model"]["name"])):
        return of_course
    if name in _LOSS_OPTIONS:
        loss, option = _LOSS_OPTIONS[name]
        places = [
            key.rpartition(".")[0]
            for key, value in _leaves(tree["task"], "task.")
            if key.endswith(".name") and value == loss
        ]
        if len(places) == 1:
            return f"{places[0]}.{option}"
        raise ConfigError(
            f"hyperparameter '{name}' needs one loss '{loss}' in task.losses and there are {len(places)}; "
            f"name it in full, such as task.losses.TARGET.0.{option}."
        )
    section, _, leaf = name.rpartition(".")
    if section and (section == "model" or section.startswith(("optim.", "task.losses"))):
        return name  # an option of a part, which that part checks
    known = [key for key, _ in _leaves(tree, "")]
    others = tuple(f"{kind}." for kind in get_args(TaskName) if kind != tree["task"]["name"])
    apart = (*_FIXED, *others)
    same = [key for key in known if key.rpartition(".")[2] == leaf and not section and not key.startswith(apart)]
    if len(same) == 1:
        return same[0]
    if same:
        raise ConfigError(f"hyperparameter '{name}' may mean {' or '.join(same)}; write the whole key.")
    raise ConfigError(f"no hyperparameter is named '{name}'; {nearest(name, [*known, *OTHER_NAMES, *_LOSS_OPTIONS])}")


def _has(tree: Any, key: str) -> bool:
    for part in key.split("."):
        if isinstance(tree, Mapping) and part in tree:
            tree = tree[part]
        elif isinstance(tree, list) and part.isdigit() and int(part) < len(tree):
            tree = tree[int(part)]
        else:
            return False
    return True


def _leaves(tree: Any, prefix: str) -> list[tuple[str, Any]]:
    entries = tree.items() if isinstance(tree, Mapping) else enumerate(tree)
    found = []
    for key, value in entries:
        inside = isinstance(value, Mapping) or (isinstance(value, list) and value and isinstance(value[0], Mapping))
        found += _leaves(value, f"{prefix}{key}.") if inside else [(f"{prefix}{key}", value)]
    return found


def with_values(config: Config, values: Mapping[str, Any], trusted: Collection[str] = ()) -> Config:
    """The configuration with other values, checked as a whole; choices of groups come before single keys.

    Raises:
        ConfigError: for a key or value that does not fit.
    """
    tree = copy.deepcopy(config.to_dict())
    for key, value in values.items():
        if key in CHOICES and isinstance(value, str):
            chosen = COURSE_NETS.get(value, value) if key == "model" else value
            if chosen not in CHOICES[key]:
                raise ConfigError(f"no {key} is named '{value}'; {nearest(value, choices_of(key))}")
            tree[key] = copy.deepcopy(CHOICES[key][chosen])
    for key, value in values.items():
        told = course_option(str(tree["model"]["name"]), key, value)
        if told is not None and (key not in CHOICES or not isinstance(value, str)):
            _put(tree, *told)
    return checked(tree, trusted)


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    *outer, leaf = key.split(".")
    place: Any = tree
    for part in outer:
        if isinstance(place, list) and part.isdigit() and int(part) < len(place):
            place = place[int(part)]
        elif isinstance(place, dict):
            if place.get(part) is None:
                place[part] = {}
            place = place[part]
        else:
            place = None
    if not isinstance(place, dict):
        raise ConfigError(f"the configuration has no key '{key}'; an outer part of it is no section.")
    place[leaf] = value
