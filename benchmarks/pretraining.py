"""Does pretraining on the built-in Earth beat a random start? Every method, several seeds, on held-out blocks.

For each seed and method: `graticule train experiment=earth_<method>`, then probes of the exported backbone by few
labels (a window's class is that of most of its pixels), on all test windows and on those of land; beside them those
of a random start of the same architecture and seed. With `--tune SHARE` whole nets are then trained on that share of
the labels (`model=classifier`), from each backbone and from a random start. One line of JSON per run, so that it can be
stopped and go on.

    graticule prepare experiment=earth_simclr data.store=stores/earth-5deg source.cover=true
    python benchmarks/pretraining.py stores/earth-5deg found.jsonl
    python benchmarks/pretraining.py stores/earth-5deg found.jsonl --tune 0.05
    python benchmarks/pretraining.py stores/earth-5deg found.jsonl --table
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
import yaml
from scipy.stats import t as student

from graticule.commands.train import train
from graticule.conf.compose import Request
from graticule.data.datamodule import DataModule
from graticule.data.splits import assign
from graticule.data.store import Store
from graticule.inference.probing import mean_f1
from graticule.models.backbones import load_backbone
from graticule.models.classifier import make_backbone
from graticule.objectives.probes import few_shot, knn, linear_probe
from graticule.schema import SEEN, X
from graticule.tasks.normalisation import normalised
from graticule.tasks.pretraining.monitors import label_of

METHODS = ("simclr", "moco", "byol", "simsiam", "barlow_twins", "vicreg", "dino", "mae")
SHARES, DRAWS, CS = (0.01, 0.05, 0.1, 1.0), 5, (1e-3, 1e-2, 1e-1, 1.0)
SPLIT_SEED = 1529


def features(net, told, store, assignment):
    """{part: (features, labels)}."""
    numbers = {key: torch.tensor(told["normalisation"][key]) for key in ("scale", "shift", "empty")}
    module = DataModule(store, assignment, targets=["landcover"], eval_batch_size=128)
    found = {}
    for part in ("train", "val", "test"):
        rows, labels = [], []
        for batch in module.part_dataloader(part):
            with torch.inference_mode():
                rows.append(net(normalised(batch[X], batch[SEEN], "statistics", **numbers)))
            labels.append(label_of(batch, store.targets[0]))
        found[part] = torch.cat(rows).numpy().astype(np.float64), torch.cat(labels).numpy()
    return found


def probes(found, seed):
    """{share: {figure: mean over draws}} on the test part."""
    (x, y), (vx, vy), (qx, qy) = (found[part] for part in ("train", "val", "test"))
    land, classes, result = qy != 0, 10, {}
    for share in SHARES:
        rows = []
        for draw in range(DRAWS if share < 1 else 1):
            few = few_shot(y, share, 1000 * seed + draw)
            linear = linear_probe(x[few], y[few], vx, vy, cs=CS, classes=classes)(qx).argmax(1)
            near = knn(x[few], y[few], qx, 5, classes=classes).argmax(1)
            rows.append([(linear == qy).mean(), (linear == qy)[land].mean(), mean_f1(linear, qy, classes),
                         (near == qy).mean(), (near == qy)[land].mean(), mean_f1(near, qy, classes)])  # fmt: skip
        names = ("linear", "linear_land", "linear_f1", "knn", "knn_land", "knn_f1")
        result[str(share)] = dict(zip(names, np.mean(rows, axis=0).round(5).tolist(), strict=True))
    return result


def table(path):
    """Means over seeds, and the gain over the random start of the same seed with its 95 % interval."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    probed = [line for line in lines if "probes" in line]
    for figure in ("linear_land", "linear_f1", "knn_land"):
        print(figure)
        for method in dict.fromkeys(line["method"] for line in probed):
            own = [line for line in probed if line["method"] == method]
            cells = [
                compared(
                    [line["probes"][share][figure] for line in own], [line["random"][share][figure] for line in own]
                )
                for share in map(str, SHARES)
            ]
            print(f"| `{method}` ({len(own)}) | " + " | ".join(cells) + " |")
    tuned = {(line["tuned"], line["seed"], line["share"]): line for line in lines if "tuned" in line}
    for figure in ("f1", "land"):
        print("fine-tuned,", figure)
        for method, share in dict.fromkeys((method, share) for method, _, share in tuned if method in METHODS):
            own = [line for (name, _, part), line in tuned.items() if name == method and part == share]
            starts = [tuned[line["encoder"], line["seed"], share][figure] for line in own]
            print(f"| `{method}` ({len(own)}), {share:.0%} | {compared([line[figure] for line in own], starts)} |")


def compared(pretrained, started):
    """Both means, and the gain with its interval over seeds."""
    gain = np.subtract(pretrained, started)
    half = student.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / len(gain) ** 0.5 if len(gain) > 1 else np.nan
    return f"{np.mean(pretrained):.3f} / {np.mean(started):.3f} ({gain.mean():+.3f} ± {half:.3f})"


def tune(told, share):
    """Train whole nets on a share of the labels, from each backbone in the file and from a random start."""
    lines = [json.loads(line) for line in _lines(told.out)]
    done = {(line["tuned"], line["seed"], line["share"]) for line in lines if "tuned" in line}
    for line in [line for line in lines if "probes" in line]:
        folder = Path(line["folder"]) / "backbone"
        encoder = json.loads((folder / "backbone.json").read_text())["encoder"]
        for name, weights in ((line["method"], folder), (encoder, None)):
            if (name, line["seed"], share) in done:
                continue
            pretrained = yaml.safe_load((Path(line["folder"]) / "config.yaml").read_text())
            options = json.dumps(pretrained["model"]["options"]).replace('"', "").replace(" ", "")
            begun = time.process_time()
            run = train(Request([
                "source=earth", "model=classifier", "data=windows", "optim=adamw", "split=block", "trainer=cpu",
                f"model.encoder={encoder}", f"model.encoder_weights={weights or 'null'}", f"model.options={options}",
                f"data.store={told.store}", "data.targets=[cover]", "data.batch_size=32", f"split.seed={SPLIT_SEED}",
                f"split.train_share={share}", "trainer.max_epochs=40", "trainer.val_every_n_epochs=10",
                "evaluate.bootstrap=0", "evaluate.pictures=0", "evaluate.parts=[test]", "run.output_root=runs",
                f"run.name=tuned-{name}-{line['seed']}", f"run.seed={line['seed']}", *told.words,
            ]))  # fmt: skip
            (file,) = run.folder.glob("evaluation/test*/metrics.json")
            values = json.loads(file.read_text())["targets"]["cover"]["metrics"]
            found = {"tuned": name, "seed": line["seed"], "share": share, "encoder": encoder,
                     "cpu_s": round(time.process_time() - begun), "folder": str(run.folder),
                     "f1": values["f1"], "land": values["foreground_accuracy"]}  # fmt: skip
            done.add((name, line["seed"], share))
            with told.out.open("a") as out:
                out.write(json.dumps(found) + "\n")


def main():
    """Run what is not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", nargs="*", default=METHODS)
    parser.add_argument("--words", nargs="*", default=[])
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--tune", type=float, metavar="SHARE")
    told = parser.parse_args()
    if told.table:
        table(told.out)
        return
    torch.set_num_threads(1)
    if told.tune:
        tune(told, told.tune)
        return
    store = Store.open(told.store)
    assignment = assign(store, method="block", seed=SPLIT_SEED)
    done = {(line["method"], line["seed"]) for line in map(json.loads, _lines(told.out)) if "probes" in line}
    starts = {}
    for seed in told.seeds:
        for method in told.methods:
            if (method, seed) in done:
                continue
            begun = time.process_time()
            words = [f"experiment=earth_{method}", f"data.store={told.store}", f"run.seed={seed}",
                     f"run.name={method}-{seed}", "run.output_root=runs", *told.words]  # fmt: skip
            run = train(Request(words))
            cost = time.process_time() - begun
            net, about = load_backbone(run.folder / "backbone")
            key = (about["encoder"], seed)
            if key not in starts:
                torch.manual_seed(seed)
                start = make_backbone(about["encoder"], len(about["bands"]), options=about["options"]).eval()
                starts[key] = probes(features(start, about, store, assignment), seed)
            line = {"method": method, "seed": seed, "cpu_s": round(cost), "folder": str(run.folder),
                    "words": told.words, "validation": about["validation"], "random": starts[key],
                    "probes": probes(features(net, about, store, assignment), seed)}  # fmt: skip
            with told.out.open("a") as file:
                file.write(json.dumps(line) + "\n")


def _lines(path):
    return path.read_text().splitlines() if path.exists() else []


if __name__ == "__main__":
    main()
