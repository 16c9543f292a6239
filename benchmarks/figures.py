"""How a benchmark takes the time of a call, and tells its figure: one line with ratio, goal and whether it is met."""

import time
from collections.abc import Callable
from typing import Literal


def report(name: str, ratio: float, goal: float, better: Literal["higher", "lower"] = "higher") -> bool:
    """Print `name  ratio  goal  pass|miss` and return whether the goal was reached.

    Args:
        name: what was measured, such as "apply a kept map / compute it anew".
        ratio: the measured ratio, from one run on one machine.
        goal: what it should at least ("higher") or at most ("lower") be.
        better: which side of the goal is the good one.
    """
    reached = ratio >= goal if better == "higher" else ratio <= goal
    sign = "≥" if better == "higher" else "≤"
    print(f"{name:<72} {ratio:10.2f}   goal {sign} {goal:<8g} {'pass' if reached else 'miss'}", flush=True)
    return reached


def seconds(call: Callable[[], object], repeats: int) -> float:
    """The least time of the processor that a call takes."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)
