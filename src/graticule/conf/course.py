"""Names that nets and their options have in the course on DFC2021, so that its sweeps run as they are."""

from typing import Any

from graticule.errors import ConfigError

NETS = {"UNet": "course_unet", "SegmentationCNN": "course_cnn", "FCNResnetTransfer": "fcn_resnet101"}
"""Values of `model_type`, and the choices of `model` that they mean."""

_OPTIONS: dict[str, dict[str, str]] = {
    "unet": {"n_encoders": "levels", "embedding_size": "channels"},
    "segmentation_cnn": {name: name for name in ("depth", "embedding_size", "pool_sizes", "kernel_size")},
    "fcn_resnet101": {},
}
_NAMES = {name for options in _OPTIONS.values() for name in options}
_FROM_DATA = ("scale_factor", "in_channels", "out_channels")


def course_key(name: str, net: str) -> str | None:
    """The key of a net's option by the course's name; None if it has none there, or the net is not of the course.

    Raises:
        ConfigError: for what follows from the data here.
    """
    if name in _FROM_DATA:
        raise ConfigError(
            f"hyperparameter '{name}' follows from the data here (bands, classes, and the cells that labels are known "
            "for); leave it out."
        )
    return f"model.{name}" if name in _NAMES and net in _OPTIONS else None


def course_option(net: str, key: str, value: Any) -> tuple[str, Any] | None:
    """A key of `model` and its value for one net, where it is the course's; None where it has no effect on that net.

    As in the course, the options of the other nets are passed over, so that one sweep can try several nets.
    """
    name = key.removeprefix("model.")
    options = _OPTIONS.get(net)
    if options is None or not key.startswith("model.") or name not in _NAMES:
        return key, value
    if name not in options:
        return None
    if name == "pool_sizes" and isinstance(value, str):
        value = [int(size) for size in value.split(",")]
    return f"model.{options[name]}", value
