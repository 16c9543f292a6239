"""How long work still takes: a bar on a terminal, plain lines elsewhere."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def tracked(items: Iterable[T], total: int, title: str, *, show: bool = True) -> Iterator[T]:
    """The items, told as they pass: a bar on a terminal, else a line at every fifth."""
    console = Console(stderr=True)
    if not show:
        yield from items
    elif console.is_terminal:
        yield from track(items, title, total=total, console=console)
    else:
        step = max(1, total // 5)
        for count, item in enumerate(items, 1):
            yield item
            if count % step == 0 or count == total:
                console.print(f"{title}: {count} of {total}", highlight=False)
