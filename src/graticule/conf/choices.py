"""The named choices of each group, as `group=choice` on the command line; experiments are YAML files beside it."""

from functools import cache
from pathlib import Path
from typing import Any

from hydra_zen import ZenStore

from graticule.conf.parts import NETS, SOURCES
from graticule.data.sources.fisheye_classes import PUBLISHED_WEIGHTS

CHOICES: dict[str, dict[str, dict[str, Any]]] = {
    "source": {name: {"name": name} for name in SOURCES},
    "model": {name: {"name": name} for name in NETS}
    | {
        "unet_small": {"name": "unet", "channels": 16, "levels": 4},
        # As in the course on DFC2021, whose cells are of 50 x 50 pixels.
        "course_cnn": {
            "name": "segmentation_cnn",
            "embedding_size": 64,
            "pool_sizes": [5, 5, 2],
            "norm": "none",
            "upsample": "nearest",
        },
        "course_unet": {"name": "unet", "channels": 64, "levels": 2},
    },
    "data": {
        "windows": {},
        "crops": {"balance": True, "repeats": 4, "augment": {"d4": True, "crop": 96}},
    },
    "task": {
        "default": {},
        "landcover": {"losses": {"landcover": [{"name": "cross_entropy"}]}, "area_weighted": True},
        "height": {"losses": {"height": [{"name": "huber"}]}, "area_weighted": True},
        "semantics": {"losses": {"semantics": [{"name": "cross_entropy", "class_weights": "prevalence"}]}},
        "depth": {"losses": {"depth": [{"name": "l2"}]}},
        **{
            name: {"losses": {"semantics": [{"name": "cross_entropy", "class_weights": list(weights)}]}}
            for name, weights in PUBLISHED_WEIGHTS.items()
        },
    },
    "optim": {
        "adamw": {
            "optimizer": {"name": "adamw", "lr": 1e-3, "weight_decay": 1e-2},
            "schedule": {"name": "cosine", "warmup_steps": 50},
        },
        "one_cycle": {
            "optimizer": {"name": "adamw", "lr": 3e-3, "weight_decay": 1e-2},
            "schedule": {"name": "one_cycle"},
        },
        "sgd": {
            "optimizer": {"name": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
            "schedule": {"name": "cosine", "warmup_steps": 50},
        },
    },
    "split": {
        "block": {"method": "block"},
        "random": {"method": "random"},
        "region": {"method": "region"},
        "parent": {"method": "parent"},
        "sample": {"method": "sample"},
        "published": {"method": "published"},
        "none": {"method": "none"},
    },
    "trainer": {
        "auto": {},
        "cpu": {"accelerator": "cpu", "devices": 1},
        "gpu": {"accelerator": "gpu", "devices": 1, "precision": "bf16-mixed"},
        "ddp": {"accelerator": "auto", "devices": "auto", "strategy": "ddp", "sync_batchnorm": True},
    },
    "tracker": {
        "csv": {"names": ["csv"]},
        "tensorboard": {"names": ["csv", "tensorboard"]},
        "wandb": {"names": ["csv", "wandb"]},
        "mlflow": {"names": ["csv", "mlflow"]},
        "comet": {"names": ["csv", "comet"]},
    },
    "callbacks": {
        "default": {},
        "early_stopping": {"early_stopping": {"patience": 10}},
        "quiet": {"progress": False},
    },
    "debug": {
        # Under the names that they have in ssl4rs: default, fast_dev_run, limit_batches, overfit, pl_profiler.
        "default": {
            "run": {"seed": 1337, "output_root": "${oc.env:OUTPUT_ROOT,runs}/debug"},
            "trainer": {
                "accelerator": "cpu",
                "devices": 1,
                "max_epochs": 1,
                "limit_train_batches": 5,
                "limit_val_batches": 5,
                "deterministic": True,
            },
            "data": {"num_workers": 0},
            "evaluate": {"bootstrap": 20, "examples": 2},
        },
        "fast_dev_run": {
            "trainer": {"max_epochs": 1, "limit_train_batches": 1, "limit_val_batches": 1},
            "evaluate": {"after_train": False},
        },
        "limit_batches": {
            "trainer": {"max_epochs": 2, "limit_train_batches": 3, "limit_val_batches": 3},
            "evaluate": {"bootstrap": 20, "examples": 2},
        },
        "pl_profiler": {
            "trainer": {"max_epochs": 1, "profiler": "simple"},
            "evaluate": {"after_train": False},
        },
        "fast": {
            "trainer": {"max_epochs": 1, "limit_train_batches": 2, "limit_val_batches": 2},
            "evaluate": {"bootstrap": 20, "examples": 2},
        },
        "limit": {
            "trainer": {"max_epochs": 1, "limit_train_batches": 0.1, "limit_val_batches": 0.1},
            "evaluate": {"bootstrap": 100},
        },
        "overfit": {
            "trainer": {"max_epochs": 100, "limit_train_batches": 1, "limit_val_batches": 1},
            "data": {
                "repeats": 1,
                "augment": {
                    "d4": False,
                    "horizontal_flip": False,
                    "vertical_flip": False,
                    "rotate": False,
                    "brightness": 0.0,
                    "contrast": 0.0,
                    "saturation": 0.0,
                    "zoom": 0.0,
                    "blur": 0,
                    "noise": 0.0,
                    "posterize": 0,
                },
            },
            "evaluate": {"after_train": False},
        },
    },
}
"""Group → choice → the values that it sets. The choices of `debug` and of the experiments set values anywhere."""

EXPERIMENTS = Path(__file__).parent / "experiment"

DEFAULTS = {
    "source": "earth",
    "data": "windows",
    "split": "block",
    "model": "unet",
    "task": "default",
    "optim": "adamw",
    "trainer": "auto",
    "tracker": "csv",
    "callbacks": "default",
    "experiment": None,
    "debug": None,
}
"""The choice of each group where the user makes none. Later ones win: an experiment over groups, `debug` over all."""

ROOT = {
    "run": {"output_root": "${oc.env:OUTPUT_ROOT,runs}"},
    "pretraining": {},
    "adaptation": {},
    "painting": {},
    "prepare": {},
    "profile": {},
    "probe": {},
    "evaluate": {},
    "predict": {},
    "crossval": {},
    "tune": {"storage": "${oc.env:GRATICULE_STORAGE,null}"},
}


def choices_of(group: str) -> list[str]:
    """The names that can be chosen in a group."""
    if group == "experiment":
        return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml"))
    return sorted(CHOICES[group])


@cache
def register() -> None:
    """Hand the groups and the root to Hydra's store of configs."""
    store = ZenStore(name="graticule", deferred_hydra_store=True, overwrite_ok=True)
    for group, choices in CHOICES.items():
        package = "_global_" if group == "debug" else group
        for name, values in choices.items():
            store(values, name=name, group=group, package=package)
    defaults: list[Any] = ["_self_", *({group: choice} for group, choice in DEFAULTS.items())]
    store({"defaults": defaults, **ROOT}, name="graticule")
    store.add_to_hydra_store(overwrite_ok=True)
