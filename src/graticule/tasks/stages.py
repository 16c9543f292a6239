"""Parts of a net by depth: slower learning rates for what lies deeper, and parts that do not learn.

The encoder of a net is its part named `encoder` (`down` in this project's U-Net, `backbone` in torchvision's nets),
with what comes before it. Its blocks are told apart by their numbers in the order of the net (`layer1.0`, `blocks.3`,
`stages.2`); what has no number belongs to the block before it.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from torch import Tensor, nn

from graticule.errors import ConfigError, nearest

_ENCODERS = ("encoder", "down", "backbone")


def block_of_each(net: nn.Module) -> tuple[dict[str, int], int]:
    """The block of the encoder that each parameter is in, from 0, and their number; those after the encoder have none.

    Raises:
        ConfigError: if the net has no encoder.
    """
    found = [name for name, _ in net.named_modules() if name.rpartition(".")[2] in _ENCODERS]
    if not found:
        raise ConfigError(
            f"the net ({type(net).__name__}) has no encoder; optim.layer_decay and task.freeze=[encoder:K] need one: "
            "use model=classifier, smp or unet, or name modules in task.freeze."
        )
    prefix = min(found, key=lambda name: name.count(".")) + "."
    names = [name for name, _ in net.named_parameters()]
    last = max(place for place, name in enumerate(names) if name.startswith(prefix))
    blocks: dict[str, int] = {}
    seen: list[str] = []
    for name in names[: last + 1]:
        key = _numbered(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if key is not None and key not in seen:
            seen.append(key)
        blocks[name] = 0 if key is None and not seen else (seen.index(key) + 1 if key is not None else len(seen))
    return blocks, max(blocks.values()) + 1


def _numbered(name: str) -> str | None:
    """The name up to its first number: `layer1.0` of `layer1.0.conv1.weight`; None without one."""
    words = name.split(".")
    for place, word in enumerate(words):
        if word.isdigit():
            return ".".join(words[: place + 1])
    return None


def decayed_groups(net: nn.Module, lr: float, decay: float) -> list[dict[str, Any]]:
    """Groups of parameters for an optimiser: rate lr after the encoder, lr * decay in its last block, and so on down.

    A net of n blocks has the rate lr * decay ** (n - block) in each (Clark et al. 2020, arXiv:2003.10555; Bao et al.
    2022, arXiv:2106.08254). The group of the highest rate is the first.

    Raises:
        ConfigError: if the net has no encoder, or the decay is not within 0 to 1.
    """
    if not 0 < decay <= 1:
        raise ConfigError(f"optim.layer_decay is {decay}; it must be above 0 and at most 1, such as 0.75.")
    blocks, count = block_of_each(net)
    groups: dict[int, list[Tensor]] = {}
    for name, parameter in net.named_parameters():
        if parameter.requires_grad:
            groups.setdefault(blocks.get(name, count), []).append(parameter)
    return [{"params": groups[block], "lr": lr * decay ** (count - block)} for block in sorted(groups, reverse=True)]


class Frozen:
    """Parts of a net that do not learn; the statistics of their norms stay as they are, too.

    Args:
        net: whose.
        parts: names of modules as they are in the net (`encoder`, `encoder.layer1`), or `encoder:K` for what comes
            before the encoder and its first K blocks.
        epochs: they learn from this epoch on; None: never.

    Raises:
        ConfigError: if there is no such part, or nothing would learn.
    """

    def __init__(self, net: nn.Module, parts: Sequence[str], epochs: int | None = None) -> None:
        self.epochs = epochs
        names = {name for part in parts for name in _parameters(net, part)}
        self.parameters = [parameter for name, parameter in net.named_parameters() if name in names]
        if names and len(names) == len(list(net.named_parameters())):
            raise ConfigError(f"task.freeze={list(parts)} freezes the whole net; leave something that learns.")
        homes = {name.rpartition(".")[0] for name in names}
        self.modules = [module for name, module in net.named_modules() if name in homes]
        if epochs is None:
            for parameter in self.parameters:
                parameter.requires_grad_(False)

    def holds(self, epoch: int) -> bool:
        """Whether they are frozen in an epoch."""
        return bool(self.parameters) and (self.epochs is None or epoch < self.epochs)

    def rest(self) -> None:
        """Let norms use the statistics that they have."""
        for module in self.modules:
            module.eval()

    def forget(self) -> None:
        """Drop gradients, so that no optimiser moves them; momentum and weight decay neither."""
        # They are not switched off: whoever wraps the net to train on several devices must find them at its start.
        for parameter in self.parameters:
            parameter.grad = None


def _parameters(net: nn.Module, part: str) -> list[str]:
    """Names of the parameters of a part."""
    known = {name for name, _ in net.named_modules() if name}
    head, _, count = part.partition(":")
    if count:
        if head != "encoder" or not count.isdigit():
            raise ConfigError(f"task.freeze has '{part}'; give the name of a module, or encoder:K with a number K.")
        blocks, _ = block_of_each(net)
        return [name for name, block in blocks.items() if block <= int(count)]
    homes = [name for name in known if name == part or name.endswith(f".{part}")]
    if not homes:
        raise ConfigError(f"task.freeze has '{part}', which is no module of the net; {nearest(part, _shallow(known))}")
    top = min(homes, key=lambda name: (name.count("."), name))
    found = [name for name, _ in net.named_parameters() if name.startswith(f"{top}.")]
    if not found:
        raise ConfigError(f"task.freeze has '{part}', which holds no weights; name a module that does.")
    return found


def _shallow(names: Iterable[str]) -> list[str]:
    return [name for name in names if name.count(".") < 3]
