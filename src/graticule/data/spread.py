"""One piece of work for each scene, spread over the processes of a Dask cluster, here or elsewhere."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from graticule.errors import ConfigError

J = TypeVar("J")
R = TypeVar("R")

DIED = "its workers died one after the other, as for want of memory; work at it with fewer workers"
"""Why a piece of work has no result."""


def spread(
    work: Callable[[J], R], jobs: Sequence[J], workers: int, address: str | None, section: str
) -> Iterator[tuple[J, R | None]]:
    """The results as they come, each with its job. A job whose worker dies goes to another one; None after the third.

    Args:
        work: a function of a module that the workers can import.
        jobs: what it is called with, in plain data.
        workers: processes of a cluster on this machine.
        address: of the scheduler of a cluster that is there, which is used instead. Its workers need this package and
            the same paths.
        section: of the configuration, for messages.

    Raises:
        ConfigError: if Dask is not installed, or no scheduler answers.
    """
    try:
        from dask import config
        from distributed import Client, KilledWorker, as_completed
    except ImportError as error:
        raise ConfigError(
            f"several workers need Dask; install it with: pip install 'graticule[scenes]', or set {section}.workers=1."
        ) from error
    if not jobs:
        return
    with config.set({"distributed.scheduler.allowed-failures": 2, "distributed.comm.timeouts.connect": "10s"}):
        cluster = local_cluster(min(workers, len(jobs))) if address is None else None
        try:
            client = Client(cluster or address)
        except (OSError, TimeoutError, ValueError) as error:
            raise ConfigError(
                f"no Dask scheduler answers at {address} ({type(error).__name__}); correct {section}.dask, or start "
                "one with `dask scheduler`."
            ) from error
        try:
            futures = {client.submit(work, job, pure=False): job for job in jobs}
            for future in as_completed(futures):
                try:
                    yield futures[future], future.result()
                except KilledWorker:
                    yield futures[future], None
        finally:
            client.close()
            if cluster is not None:
                cluster.close()


def local_cluster(workers: int) -> Any:
    """A cluster of processes on this machine, each with one thread; a context manager that ends it."""
    from dask import config
    from distributed import LocalCluster

    # Dask has glibc give back what arrays free, and works in a second thread, whose memory glibc maps anew for every
    # array: half of the time of a preparation went into pages that had just been given back.
    kept = {"MALLOC_ARENA_MAX": 1, "MALLOC_TRIM_THRESHOLD_": 2**31 - 1, "MALLOC_MMAP_THRESHOLD_": 2**30}
    with config.set({f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in kept.items()}):
        return LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, memory_limit=0,
            silence_logs=logging.CRITICAL,
        )  # fmt: skip


def worker_number() -> int:
    """Which worker of a cluster on this machine this process is, from 0; 0 outside of such."""
    from distributed import get_worker

    try:
        return int(get_worker().name)
    except ValueError:
        return 0
