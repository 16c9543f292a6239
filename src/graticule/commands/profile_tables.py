"""The tables of a profile on the console."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from graticule.reporting.profile_words import duration


def show_data(profile: Mapping[str, Any]) -> None:
    """Set-up, rates by number of threads beside the limits, steps of a batch, and advice."""
    store, batch = profile["store"], profile["batch"]
    head = f"{store['path']}: {store['samples']} samples {[store['bands'], *store['space']]} {store['dtype']}, "
    head += f"{batch['per_epoch']} batches of {batch['samples']} ({batch['bytes'] / 1e6:.1f} MB) an epoch"
    setup = _table("set-up", "time")
    for name, seconds in profile["setup"].items():
        setup.add_row(name, duration(seconds))
    rates = _table("data.num_workers", "samples/s", "best round", "batch p50", "p95", "MB/s")
    for row in profile["workers"]:
        chosen = " *" if row["num_workers"] == profile["recommended_workers"] else ""
        rates.add_row(f"{row['num_workers']}{chosen}", *_rate(row))
    limits = profile["limits"]
    rates.add_row("bare reads", *_rate(limits["bare_reads"]))
    rates.add_row("memcpy", "", "", "", "", f"{limits['memcpy_bytes_per_second'] / 1e6:,.0f}")
    if limits["disk_bytes_per_second"]:
        rates.add_row("disk, past the cache", "", "", "", "", f"{limits['disk_bytes_per_second'] / 1e6:,.0f}")
    steps = _table("step of a batch", "time", "share")
    for row in profile["steps"]:
        steps.add_row(row["step"], duration(row["seconds"]), f"{row['share']:.0%}")
    _show(head, [setup, rates, steps], profile["advice"])


def show_model(profile: Mapping[str, Any]) -> None:
    """Modules, times of a step, memory, the epoch, and advice."""
    batch = profile["batch"]
    head = f"{profile['model']} on {profile['device']}, {profile['precision']}: {[batch['samples'], *batch['shape']]}, "
    head += f"{profile['parameters']:,} parameters, {profile['trained']:,} trained"
    modules = _table("module", "parameters", "GFLOP forward, a sample")
    for row in profile["modules"]:
        modules.add_row(row["module"], f"{row['parameters']:,}", f"{row['flops'] / batch['samples'] / 1e9:.4g}")
    work, step = profile["flops"], profile["step"]
    modules.add_row("all", f"{profile['parameters']:,}", f"{work['forward_per_sample'] / 1e9:.4g}")
    modules.add_row("with backward", "", f"{work['training_per_sample'] / 1e9:.4g}")
    times = _table("training step", "time", "share")
    for part, seconds in step["seconds"].items():
        times.add_row(part, duration(seconds), f"{seconds / sum(step['seconds'].values()):.0%}")
    times.add_row("all (median)", duration(step["median"]), f"{step['samples_per_second']:,.1f} samples/s")
    times.add_row("95 %", duration(step["p95"]), f"{work['per_second'] / 1e9:.3g} GFLOP/s")
    kept = _table("memory", "MiB")
    for name in ("weights", "gradients", "optimiser", "kept_for_backward", "step_peak"):
        kept.add_row(name.replace("_", " "), f"{profile['memory'][name] / 2**20:,.2f}")
    tables = [modules, times, kept]
    if "epoch" in profile:
        epoch, loader = profile["epoch"], profile["loader"]
        table = _table("epoch", "batches", "time")
        table.add_row("training", f"{epoch['steps']:,}", duration(epoch["train_seconds"]))
        table.add_row("validation, without metrics", f"{epoch['val_batches']:,}", duration(epoch["val_seconds"]))
        table.add_row(f"all {epoch['epochs']} epochs", "", duration(epoch["all_seconds"]))
        table.add_row("data alone", "", f"{loader['samples_per_second']:,.0f} samples/s")
        tables.append(table)
    _show(head, tables, profile["advice"])


def _rate(row: Mapping[str, Any]) -> list[str]:
    return [
        f"{row['samples_per_second']:,.0f}", f"{row['best_samples_per_second']:,.0f}", duration(row["batch_p50"]),
        duration(row["batch_p95"]), f"{row['bytes_per_second'] / 1e6:,.0f}",
    ]  # fmt: skip


def _table(*titles: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(titles[0], no_wrap=True)
    for title in titles[1:]:
        table.add_column(title, justify="right", no_wrap=True)
    return table


def _show(head: str, tables: Sequence[Table], advice: Sequence[str]) -> None:
    console = Console(width=max(Console().width, 100), highlight=False)
    console.print(head, markup=False)
    for table in tables:
        console.print()
        console.print(table)
    console.print()
    for sentence in advice:
        console.print(sentence, markup=False)
    console.print()
