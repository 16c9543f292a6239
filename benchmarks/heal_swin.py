"""HEAL-SWIN against the published architecture word by word: training step and inference on the sphere.

    python benchmarks/heal_swin.py [--nside 64 128] [--threads 2] [--drop 0.0] [--quick]

Both nets have the same weights (41 million), eight base pixels, batch 1; a training step is loss and gradient. Their
turns alternate, so that what else the machine does weighs on both; the figures are ratios of medians, of the time on
the clock and of the time that the processors worked (the steadier one on a busy machine). Peak memory is that of a
process for each net. bfloat16 is measured where the processor multiplies it itself.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
import torch._inductor.config

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
    """Loss and gradient."""

    def run() -> None:
        net.train()
        net.zero_grad(set_to_none=True)
        torch.nn.functional.cross_entropy(net(x).float(), labels).backward()

    return run


def alternate(runs: dict[str, Callable[[], object]], repeats: int) -> dict[str, tuple[float, float]]:
    """Median seconds of each on the clock and of the processors, taken in turns after one for warming up."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            began = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - began[0], time.process_time() - began[1]))
    return {name: (median(wall for wall, _ in t), median(work for _, work in t)) for name, t in times.items()}


def tell(what: str, found: dict[str, tuple[float, float]], goals: dict[str, str]) -> None:
    base = found["literal"]
    for name, own in list(found.items())[1:]:
        goal = f"goal {goals[name]}" if name in goals else ""
        print(
            f"  {what + ', ' + name:<46} {base[0]:7.3f} s {own[0]:7.3f} s {base[0] / own[0]:5.2f} x"
            f"   processors {base[1]:7.3f} s {own[1]:7.3f} s {base[1] / own[1]:5.2f} x  {goal}",
            flush=True,
        )


def has_bfloat16() -> bool:
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def inference(nside: int, repeats: int, compiled: bool) -> None:
    literal, own = nets(nside, 0.0)
    x = torch.randn(1, 3, 8 * nside**2)
    first, second = infer(literal, x)(), infer(own, x)()
    print(f"  outputs differ by {(first - second).abs().max():.1e} of {first.abs().max():.1f}")
    runs = {"literal": infer(literal, x), "eager": infer(own, x)}
    if has_bfloat16():
        runs["bfloat16"] = infer(nets(nside, 0.0)[1].bfloat16(), x.bfloat16())
    if compiled:
        torch._inductor.config.freezing = True
        runs["compiled"] = infer(torch.compile(nets(nside, 0.0)[1]), x)
    if compiled and has_bfloat16():
        runs["bfloat16 compiled"] = infer(torch.compile(nets(nside, 0.0)[1].bfloat16()), x.bfloat16())
    tell("inference", alternate(runs, repeats), {"eager": "1.2", "compiled": "1.5", "bfloat16": "4"})


def training(nside: int, repeats: int, drop: float, compiled: bool) -> None:
    literal, own = nets(nside, drop)
    x, labels = torch.randn(1, 3, 8 * nside**2), torch.randint(0, 10, (1, 8 * nside**2))
    runs = {"literal": train(literal, x, labels), "eager": train(own, x, labels)}
    if has_bfloat16():
        runs["bfloat16"] = train(nets(nside, drop)[1].bfloat16(), x.bfloat16(), labels)
    if compiled:
        runs["compiled"] = train(torch.compile(nets(nside, drop)[1]), x, labels)
    if compiled and has_bfloat16():
        runs["bfloat16 compiled"] = train(torch.compile(nets(nside, drop)[1].bfloat16()), x.bfloat16(), labels)
    goals = {"eager": "1.15", "compiled": "1.35", "bfloat16": "2.5"}
    tell(f"training step, dropout {drop:g}", alternate(runs, repeats), goals)


def peak(which: str, nside: int, drop: float) -> None:
    """Printed by a process of its own: its peak memory over two training steps, in MiB."""
    net = LiteralNet(config_of(nside, drop)) if which == "literal" else nets(nside, drop)[1]
    run = train(net, torch.randn(1, 3, 8 * nside**2), torch.randint(0, 10, (1, 8 * nside**2)))
    run()
    run()
    told = Path("/proc/self/status").read_text()  # the kernel counts the parent into `ru_maxrss`
    print(int(told.split("VmHWM:")[1].split()[0]) // 1024)


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
