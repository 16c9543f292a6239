"""What a domain without labels teaches: the terms of its losses, by target, as the configuration asks for them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from graticule.errors import ConfigError, nearest
from graticule.schema import Target

ADVERSARIAL, PAINTER, PSEUDO, GROUND = "adversarial", "painter", "pseudo_labels", "ground_intersection"

TERMS: dict[str, tuple[str, ...]] = {
    "min_entropy": ("classes", "binary"),
    ADVERSARIAL: ("classes", "binary"),
    "total_variation": ("binary",),
    GROUND: ("binary",),
    PAINTER: ("binary",),
    PSEUDO: ("classes", "binary", "height", "depth"),
}
"""The terms, and the kinds of targets that have them."""

USUAL: dict[str, list[dict[str, Any]]] = {
    "binary": [
        {"name": "total_variation", "weight": 1.0, "labelled": True},
        {"name": GROUND, "weight": 0.05},
        {"name": "min_entropy", "weight": 0.5, "variance": 0.1},
        {"name": ADVERSARIAL, "weight": 1.0},
    ],
    "classes": [{"name": "min_entropy", "weight": 0.001}, {"name": ADVERSARIAL, "weight": 0.001}],
}
"""The terms of each kind of target where none are asked for; the weights are those of ClimateGAN."""

_OPTIONS: dict[str, dict[str, Any]] = {
    "min_entropy": {"variance": 0.0},
    ADVERSARIAL: {"objective": "gan", "spectral": False, "width": 64, "penalty": 10.0},
    "total_variation": {},
    GROUND: {"classes": ["ground"], "margin": 0.5},
    PAINTER: {},
    PSEUDO: {},
}
OBJECTIVES = ("gan", "lsgan", "hinge", "wgan", "wgan_gp")
"""What the net and its discriminators play for; `wgan` alone needs `spectral`."""

_OF_ALL = ("name", "weight", "from_epoch", "until_epoch", "labelled")


@dataclass(frozen=True)
class UnlabelledTerm:
    """One term of what a target learns from domains without labels.

    Attributes:
        name: which, see `TERMS`.
        target: whose.
        weight: its factor in the sum.
        start: the first epoch in which it counts.
        end: the first epoch in which it no longer counts; None for never.
        labelled: whether it counts on the main store too.
        options: its own, all of them.
    """

    name: str
    target: str
    weight: float
    start: int = 0
    end: int | None = None
    labelled: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)

    def counts(self, epoch: int) -> bool:
        """Whether the term is part of the sum in that epoch."""
        return self.start <= epoch and (self.end is None or epoch < self.end)


def unlabelled_terms(
    asked: Mapping[str, Sequence[Mapping[str, Any]]] | None, targets: Sequence[Target]
) -> list[UnlabelledTerm]:
    """The terms that are asked for, or the usual ones of each target if None.

    Raises:
        ConfigError: if there is no such target, term or option, or they do not fit.
    """
    by_name = {target.name: target for target in targets}
    if asked is None:
        asked = {name: _usual(target, targets) for name, target in by_name.items()}
    terms = []
    for name, entries in asked.items():
        if name not in by_name:
            raise ConfigError(f"adaptation.losses has an entry for '{name}', no target; {nearest(name, by_name)}")
        terms += [_term(by_name[name], entry, targets) for entry in entries]
    names = [(term.target, term.name) for term in terms]
    for target, name in names:
        if names.count((target, name)) > 1:
            raise ConfigError(f"adaptation.losses.{target} has '{name}' twice; give each term once.")
    return terms


def _usual(target: Target, targets: Sequence[Target]) -> list[dict[str, Any]]:
    entries = USUAL.get(target.kind, [])
    grounded = any("ground" in _names(other) for other in targets)
    return [entry for entry in entries if entry["name"] != GROUND or grounded]


def _term(target: Target, entry: Mapping[str, Any], targets: Sequence[Target]) -> UnlabelledTerm:
    name = str(entry.get("name", ""))
    if name not in TERMS:
        raise ConfigError(f"adaptation.losses.{target.name} has '{name}', no such term; {nearest(name, TERMS)}")
    if target.kind not in TERMS[name]:
        kinds = ", ".join(TERMS[name])
        raise ConfigError(
            f"adaptation.losses.{target.name} has '{name}', which is for targets of kind {kinds}, and this one is of "
            f"kind {target.kind}; leave it out."
        )
    options = {key: value for key, value in entry.items() if key not in _OF_ALL}
    for key in options:
        if key not in _OPTIONS[name]:
            end = nearest(key, _OPTIONS[name]) if _OPTIONS[name] else "it takes none."
            raise ConfigError(f"adaptation.losses.{target.name}: '{name}' has no option '{key}'; {end}")
    options = _OPTIONS[name] | options
    if name == ADVERSARIAL and options["objective"] not in OBJECTIVES:
        raise ConfigError(
            f"adaptation.losses.{target.name}: no objective is named '{options['objective']}'; "
            + nearest(str(options["objective"]), OBJECTIVES)
        )
    if name == ADVERSARIAL and options["objective"] == "wgan" and not options["spectral"]:
        raise ConfigError(
            f"adaptation.losses.{target.name}: the objective wgan needs a discriminator of bounded gain; "
            "set spectral=true, or take wgan_gp."
        )
    if name == GROUND:
        ground_channels(options["classes"], targets)
    return UnlabelledTerm(
        name, target.name, float(entry.get("weight", 1.0)), int(entry.get("from_epoch", 0)), entry.get("until_epoch"),
        bool(entry.get("labelled", False)), options,
    )  # fmt: skip


def ground_channels(classes: Sequence[str], targets: Sequence[Target]) -> tuple[str, list[int]]:
    """The target of classes that knows the ground, and which of its classes are ground.

    Raises:
        ConfigError: if no target has such classes.
    """
    wanted = [name.lower() for name in classes]
    for target in targets:
        found = _names(target)
        if target.kind == "classes" and all(name in found for name in wanted):
            return target.name, [found.index(name) for name in wanted]
    legends = [name for target in targets if target.kind == "classes" for name in _names(target)]
    raise ConfigError(
        f"'{GROUND}' needs a target of classes with {', '.join(classes)}, and there is none; "
        + (f"name some of {legends} in its option classes." if legends else "add one to data.targets, or leave it out.")
    )


def _names(target: Target) -> list[str]:
    return [entry.name.lower() for entry in target.legend]
