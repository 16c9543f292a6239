"""HEAL-SWIN against the published architecture word by word: training step and inference on the sphere.

    python benchmarks/heal_swin.py [--nside 64 128] [--threads 2] [--drop 0.0] [--quick]

Both nets have the same weights (41 million), eight base pixels, batch 1. Their turns alternate, so that what else the
machine does weighs on both; the figure is the ratio of the medians. Peak memory is that of a process for each net.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median

import torch

from graticule.models.reference import load
from graticule.models.swin.sphere import sphere_plan
from graticule.models.swin.windows import Windows
from literal_swin import PAPER, LiteralNet


def config_of(nside: int, drop: float) -> dict:
    return PAPER | {
        "kind": "hp", "dim_in": 8 * nside**2, "f_in": 3, "f_out": 10, "base_pix": 8, "drop_rate": drop,
        "attn_drop_rate": drop,
    }  # fmt: skip


def nets(nside: int, drop: float) -> tuple[torch.nn.Module, torch.nn.Module]:
    torch.manual_seed(0)
    config = config_of(nside, drop)
    literal = LiteralNet(config)
    for parameter in literal.parameters():
        torch.nn.init.normal_(parameter, std=0.05) if parameter.ndim > 1 else None
    return literal.eval(), load(config, literal.state_dict())


def infer(net: torch.nn.Module, x: torch.Tensor) -> Callable[[], object]:
    def run() -> torch.Tensor:
        with torch.inference_mode():
            return net(x)

    net.eval()
    return run


def train(net: torch.nn.Module, x: torch.Tensor, labels: torch.Tensor) -> Callable[[], object]:
    """Loss, gradient and a step of Adam."""
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def run() -> None:
        net.train()
        optimizer.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x).float(), labels).backward()
        optimizer.step()

    return run


def alternate(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Median seconds of each, taken in turns after one for warming up."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run()
            if turn:
                times[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in times.items()}


def tell(title: str, base: float, own: float, goal: str = "") -> None:
    print(f"  {title:<46} {base:8.3f} s {own:8.3f} s {base / own:6.2f} x  {goal}", flush=True)


def inference(nside: int, repeats: int, compiled: bool) -> None:
    literal, own = nets(nside, 0.0)
    x = torch.randn(1, 3, 8 * nside**2)
    first, second = infer(literal, x)(), infer(own, x)()
    print(f"  outputs differ by {(first - second).abs().max():.1e} of {first.abs().max():.1f}")
    runs = {"literal": infer(literal, x), "eager": infer(own, x)}
    half = nets(nside, 0.0)[1].bfloat16()
    runs["bfloat16"] = infer(half, x.bfloat16())
    if compiled:
        runs["compiled"] = infer(torch.compile(nets(nside, 0.0)[1]), x)
        runs["bfloat16 compiled"] = infer(torch.compile(nets(nside, 0.0)[1].bfloat16()), x.bfloat16())
    goals = {"eager": "1.2", "compiled": "1.5", "bfloat16": "4"}
    found = alternate(runs, repeats)
    for name, seconds in list(found.items())[1:]:
        tell(f"inference, {name}", found["literal"], seconds, f"goal {goals[name]}" if name in goals else "")


def training(nside: int, repeats: int, drop: float, compiled: bool) -> None:
    literal, own = nets(nside, drop)
    x, labels = torch.randn(1, 3, 8 * nside**2), torch.randint(0, 10, (1, 8 * nside**2))
    runs = {"literal": train(literal, x, labels), "eager": train(own, x, labels)}
    half = train(nets(nside, drop)[1].bfloat16(), x.bfloat16(), labels)
    runs["bfloat16"] = half
    if compiled:
        runs["compiled"] = train(torch.compile(nets(nside, drop)[1]), x, labels)
        runs["bfloat16 compiled"] = train(torch.compile(nets(nside, drop)[1].bfloat16()), x.bfloat16(), labels)
    goals = {"eager": "1.15", "compiled": "1.35", "bfloat16": "2.5"}
    found = alternate(runs, repeats)
    for name, seconds in list(found.items())[1:]:
        title = f"training step, dropout {drop:g}, {name}"
        tell(title, found["literal"], seconds, f"goal {goals[name]}" if name in goals else "")


def peak(which: str, nside: int, drop: float) -> None:
    """Printed by a process of its own: its peak memory over two training steps, in MiB."""
    import resource

    net = LiteralNet(config_of(nside, drop)) if which == "literal" else nets(nside, drop)[1]
    run = train(net, torch.randn(1, 3, 8 * nside**2), torch.randint(0, 10, (1, 8 * nside**2)))
    run()
    run()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)


def memory(nside: int, drop: float, threads: int) -> None:
    found = {}
    for which in ("literal", "own"):
        words = [sys.executable, __file__, "--peak", which, "--nside", str(nside), "--drop", str(drop)]
        told = subprocess.run([*words, "--threads", str(threads)], check=True, capture_output=True, text=True)
        found[which] = int(told.stdout)
    less = 1 - found["own"] / found["literal"]
    print(f"  peak memory of training {found['literal']} MiB, {found['own']} MiB: {less:.0%} less  goal 15%")


def building() -> None:
    for strategy in ("exact", "ring_shift", "nest_grid_shift", "nest_roll"):
        sphere_plan.cache_clear()
        began = time.perf_counter()
        plan = sphere_plan(128, tuple(range(8)), 4, 64, strategy, 4)
        seconds = time.perf_counter() - began
        masks = sum(windows.groups.nbytes for level in plan for windows in level if windows.groups is not None)
        index = sum(_bytes(windows) for level in plan for windows in level)
        print(
            f"  {strategy} at nside 256: built in {seconds:.2f} s (goal 1), masks {masks / 2**10:.0f} KiB (goal 1024), "
            f"indices {index / 2**20:.1f} MiB"
        )


def _bytes(windows: Windows) -> int:
    return sum(t.nbytes for t in (windows.into, windows.back, windows.pads) if t is not None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nside", type=int, nargs="+", default=[64, 128])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--drop", type=float, nargs="+", default=[0.0, 0.1])
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--only", choices=["inference", "training", "memory", "building"])
    parser.add_argument("--peak", choices=["literal", "own"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    if asked.peak:
        peak(asked.peak, asked.nside[0], asked.drop[0])
        return
    print(json.dumps({"torch": torch.__version__, "threads": torch.get_num_threads()}))
    if asked.only in (None, "building"):
        building()
    for nside in asked.nside:
        print(f"nside {nside}, 8 base pixels: literal, own, ratio")
        if asked.only in (None, "inference"):
            inference(nside, asked.repeats, not asked.no_compile)
        for drop in asked.drop:
            if asked.only in (None, "training"):
                training(nside, asked.repeats, drop, not asked.no_compile)
            if asked.only in (None, "memory"):
                memory(nside, drop, asked.threads)


if __name__ == "__main__":
    main()
