"""One request or every combination of its values, here or as jobs through submitit."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from graticule.commands.console import tell
from graticule.conf.compose import Request, as_yaml, compose
from graticule.conf.overrides import combinations, parse
from graticule.errors import ConfigError

JOBS = "_jobs"
"""Folder under the output root for what submitit keeps of its jobs."""


def launch(run: Callable[[Request], Any], arguments: argparse.Namespace) -> None:
    """Do what a verb's arguments ask for.

    Args:
        run: the verb's work, for one request.
        arguments: `words`, `config`, `trust`, `print_config`, `multirun`, `launcher`, `slurm`.

    Raises:
        ConfigError: if any of the requests is wrong; then none has been started.
    """
    ways = combinations(arguments.words) if arguments.multirun else [arguments.words]
    requests = [Request(words, arguments.config, tuple(arguments.trust)) for words in ways]
    if arguments.print_config:
        print("\n---\n".join(as_yaml(compose(request)) for request in requests), end="")
        return
    if len(requests) > 1 or arguments.launcher != "here":
        for request in requests:
            compose(request)
    if arguments.launcher != "here":
        submit(run, requests, arguments.launcher, arguments.slurm)
        return
    for number, request in enumerate(requests, 1):
        if len(requests) > 1:
            tell(f"[{number} of {len(requests)}] {' '.join(request.words)}")
        run(request)


def submit(run: Callable[[Request], Any], requests: list[Request], cluster: str, parameters: list[str]) -> None:
    """Hand every request to submitit: to Slurm, or to processes of this machine, which are waited for.

    Raises:
        ConfigError: if submitit is not installed, there is no Slurm, or a parameter is unknown.
    """
    try:
        import submitit
    except ImportError as error:
        raise ConfigError("--launcher needs submitit; install it with: pip install 'graticule[slurm]'.") from error
    folder = Path(compose(requests[0]).run.output_root) / JOBS
    options = {override.key_or_group: override.value() for override in parse(parameters)}
    try:
        executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
        executor.update_parameters(**_for(cluster, options))
    except (RuntimeError, NameError, TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"jobs cannot be sent ({reason}); check --launcher and --slurm.") from error
    jobs = [executor.submit(run, request) for request in requests]
    for job, request in zip(jobs, requests, strict=True):
        tell(f"job {job.job_id}: {' '.join(request.words)}")
    if cluster == "local":
        for job in jobs:
            job.result()
    print(folder)


def _for(cluster: str, options: dict[str, Any]) -> dict[str, Any]:
    """The parameters under submitit's names: those that it knows for every cluster, the rest as Slurm's own."""
    common = ("timeout_min", "nodes", "tasks_per_node", "cpus_per_task", "gpus_per_node", "mem_gb", "name")
    own = {key: key if key in common else f"{cluster}_{key.removeprefix('slurm_')}" for key in options}
    return {own[key]: value for key, value in options.items()}
