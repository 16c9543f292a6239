"""Run folders as a training would leave them, with metrics known on paper, made in no time."""

import json

import numpy as np

from graticule.runs import create_run


def write_run(root, planned, values, *, worse_at_end=0.1, parents=None, **context):
    """A finished run of two epochs, best after the first, with `values` there and `worse_at_end` less at the end."""
    run = create_run(root, planned.name, seed=planned.seed, **context)
    finish_run(run, values, worse_at_end=worse_at_end, parents=parents)
    return run


def finish_run(run, values, *, worse_at_end=0.1, parents=None):
    """Give a run that was begun its metrics, checkpoints and evaluation."""
    lines = [f"10,0,{name},{value!r}" for name, value in values.items()]
    lines += [f"20,1,{name},{value - worse_at_end!r}" for name, value in values.items()]
    run.metrics.write_text("\n".join(["step,epoch,name,value", "5,0,train/loss,2.0", *lines]) + "\n")
    run.checkpoints.mkdir(exist_ok=True)
    (run.checkpoints / "last.ckpt").write_bytes(b"end")
    best = run.checkpoints / "epoch=000-step=000010.ckpt"
    best.write_bytes(b"best")
    (run.checkpoints / "best.ckpt").hardlink_to(best)
    if parents is not None:
        write_evaluation(run.evaluation("val", "store"), parents)
    run.update_manifest(state="finished")


def write_evaluation(folder, parents):
    """Sums of heights by parent: {parent: (weight, sum of |error|)}."""
    folder.mkdir(parents=True)
    weight, absolute = (np.array([parents[p][i] for p in parents], float) for i in (0, 1))
    sums = {name: np.zeros(len(parents)) for name in (
        "squared", "error", "truth", "truth_squared", "positive", "relative", "log", "log_squared", "delta1", "delta2",
        "delta3")}  # fmt: skip
    arrays = sums | {"weight": weight, "absolute": absolute, "pixels": weight}
    labels = {name: np.array(list(parents)) for name in ("parent", "region", "latitude")}
    np.savez(folder / "sums.npz", **{f"height/{key}": value for key, value in (arrays | labels).items()})
    told = {"targets": {"height": {"kind": "height", "unit": "m", "legend": []}}}
    (folder / "metrics.json").write_text(json.dumps(told))
