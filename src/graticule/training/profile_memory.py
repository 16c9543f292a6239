"""What memory a training step takes, and how large a batch may be."""

import weakref
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from graticule.schema import X
from graticule.training.profile import Batch, Steps

_MOST_SAMPLES = 2**16


class LiveBytes(TorchDispatchMode):
    """While it lasts, counts the bytes of tensors that are made and not yet freed: `now`, and their `peak`.

    Args:
        there: tensors that are there before; what shares their bytes is not counted.
    """

    def __init__(self, there: Iterable[Tensor] = ()) -> None:
        super().__init__()
        self.now = self.peak = 0
        self._known: dict[int, int] = {}
        # Held, so that no other storage gets their address.
        self._there = {(storage := tensor.untyped_storage())._cdata: storage for tensor in there}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and count what it made."""
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self._count(leaf.untyped_storage())
        return result

    def _count(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key in self._known or key in self._there:
            return
        self._known[key] = storage.nbytes()
        self.now += storage.nbytes()
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._freed, key)

    def _freed(self, key: int) -> None:
        self.now -= self._known.pop(key)


def memory(steps: Steps, batch: Batch) -> dict[str, int]:
    """Bytes of the weights, of what a step keeps for backward, and the most that a step needs beside the weights.

    The peak is CUDA's own there, and else that of the tensors that operators make, gradients included; what a kernel
    allocates within itself is not seen.
    """
    task, there = steps.task, steps.moved(batch)
    weights = [*task.parameters(), *task.buffers()]
    kept = _kept_for_backward(steps, there, {tensor.untyped_storage().data_ptr() for tensor in weights})
    steps.step(batch)  # the first step allocates the state of the optimiser
    state = _tensors(list(steps.optimizer.state.values()))
    trained = [weight for weight in task.parameters() if weight.requires_grad]
    return {
        "weights": _bytes(weights),
        "gradients": _bytes(trained),
        "optimiser": _bytes(state),
        "kept_for_backward": kept,
        "step_peak": peak_of_step(steps, batch),
    }


def _kept_for_backward(steps: Steps, batch: Batch, weights: set[int]) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor.detach()

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = steps.loss(batch)
    del loss
    return sum(kept.values())


def peak_of_step(steps: Steps, batch: Batch) -> int:
    """The most bytes that a step has allocated beside what is there before it."""
    if steps.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(steps.device)
        before = torch.cuda.memory_allocated(steps.device)
        steps.step(batch)
        return torch.cuda.max_memory_allocated(steps.device) - before
    state = _tensors(list(steps.optimizer.state.values()))
    with LiveBytes([*steps.task.parameters(), *steps.task.buffers(), *state, *_tensors(batch)]) as live:
        steps.step(batch)
    return live.peak


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def resized(batch: Batch, samples: int) -> Batch:
    """A batch of so many samples, those of `batch` over and over."""
    order = np.arange(samples) % len(batch[X])

    def take(leaf: Any) -> Any:  # what augmentation has drawn is in arrays
        return leaf[torch.as_tensor(order, device=leaf.device)] if isinstance(leaf, Tensor) else leaf[order]

    taken: Batch = tree_map(take, batch)
    return taken


def largest_batch(steps: Steps, batch: Batch, free: int | None = None) -> dict[str, Any] | None:
    """The largest batch that fits: tried on CUDA (to an eighth), told from two peaks and the free memory elsewhere.

    Args:
        steps: of the net.
        batch: whose samples are repeated or left out.
        free: bytes for a step to take, where that is not tried; as the system tells if None.

    Returns:
        `samples` and `how` (`tried` or `estimated`); None where free memory is not known.
    """
    if steps.device.type == "cuda":
        return {"samples": _tried(steps, batch), "how": "tried"}
    free = free_memory() if free is None else free
    if free is None:
        return None
    size = max(2, len(batch[X]))
    small, large = (peak_of_step(steps, resized(batch, samples)) for samples in (size // 2, size))
    each = (large - small) / (size - size // 2)
    return {"samples": max(1, int((free - large) / each) + size) if each > 0 else size, "how": "estimated"}


def _tried(steps: Steps, batch: Batch) -> int:
    fits, fails = 0, len(batch[X])
    while fails <= _MOST_SAMPLES and _fits(steps, batch, fails):
        fits, fails = fails, 2 * fails
    if fails > _MOST_SAMPLES:
        return fits
    while fails - fits > max(1, fails // 8):
        middle = (fits + fails) // 2
        fits, fails = (middle, fails) if _fits(steps, batch, middle) else (fits, middle)
    return fits


def _fits(steps: Steps, batch: Batch, samples: int) -> bool:
    try:
        steps.step(resized(batch, samples))
    except torch.cuda.OutOfMemoryError:
        steps.optimizer.zero_grad()
        return False
    finally:
        torch.cuda.empty_cache()
    return True


def free_memory() -> int | None:
    """Bytes that processes may still have, as Linux estimates them; None elsewhere."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), None)
