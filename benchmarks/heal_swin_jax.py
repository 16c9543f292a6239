"""HEAL-SWIN here against heal-swin-nnx, its port to JAX, on the CPU: the same sizes, each in its own environment.

    python3.12 -m venv nnx && nnx/bin/pip install heal-swin-nnx
    python benchmarks/heal_swin_jax.py --python nnx/bin/python [--nside 64] [--threads 2]

Both have 41 million weights, eight base pixels, cosine attention, a table of positions, float32, batch 1, and shift
their windows over the seams. The weights differ, and so the outputs: only times are compared. The processes take turns.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

SIZES = {"embed_dim": 96, "depths": (2, 2, 6, 2), "num_heads": (3, 6, 12, 24), "window_size": 64, "patch_size": 4}


def timed(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return median(times)


def own(nside: int, threads: int, repeats: int) -> dict[str, float]:
    import torch

    from graticule.models.heal_swin import HealSwin

    torch.set_num_threads(threads)
    net = HealSwin(3, 10, range(8), nside, drop_path_rate=0.0, **SIZES)
    x = torch.randn(1, 3, 8 * nside**2)

    def train() -> None:
        net.zero_grad(set_to_none=True)
        net(x).square().mean().backward()

    with torch.inference_mode():
        inference = timed(lambda: net.eval()(x), repeats)
    net.train()
    return {"inference": inference, "training step": timed(train, repeats)}


def other(nside: int, repeats: int) -> dict[str, float]:
    import jax
    from flax import nnx
    from heal_swin_nnx import HealSwin, HealSwinParams

    params = HealSwinParams(
        nside=nside, in_channels=3, out_channels=10, base_pixels=tuple(range(8)), pos_embed="rel_bias",
        drop_path_rate=0.0, dtype="float32", **SIZES,
    )  # fmt: skip
    model = HealSwin(params, rngs=nnx.Rngs(0))
    x = jax.random.normal(jax.random.key(0), (1, 8 * nside**2, 3))
    forward = nnx.jit(lambda net, values: net(values))
    step = nnx.jit(nnx.grad(lambda net, values: (net(values) ** 2).mean()))
    model.eval()
    inference = timed(lambda: jax.block_until_ready(forward(model, x)), repeats)
    model.train()
    return {"inference": inference, "training step": timed(lambda: jax.block_until_ready(step(model, x)), repeats)}


def ask(python: str, which: str, asked: argparse.Namespace) -> dict[str, float]:
    """The times that a process of that environment tells."""
    flags = f"--xla_cpu_multi_thread_eigen=true intra_op_parallelism_threads={asked.threads}"
    words = [python, __file__, "--child", which, "--nside", str(asked.nside), "--threads", str(asked.threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(asked.threads), "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(words, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        sys.exit(f"{which} failed in {python}:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="interpreter of an environment with heal-swin-nnx")
    parser.add_argument("--nside", type=int, default=64)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=["own", "other"], help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        found = own(asked.nside, asked.threads, 3) if asked.child == "own" else other(asked.nside, 3)
        print(json.dumps(found))
        return
    if not asked.python or not Path(asked.python).exists():
        print("skipped: give --python, the interpreter of an environment with heal-swin-nnx (needs Python 3.12)")
        return
    rounds = [(ask(asked.python, "other", asked), ask(sys.executable, "own", asked)) for _ in range(asked.rounds)]
    for what in ("inference", "training step"):
        theirs, ours = (median(entry[place][what] for entry in rounds) for place in (0, 1))
        print(f"{what}, nside {asked.nside}: heal-swin-nnx {theirs:.3f} s, here {ours:.3f} s, {theirs / ours:.2f} x")


if __name__ == "__main__":
    main()
