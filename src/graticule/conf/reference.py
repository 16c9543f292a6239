"""The reference of the configuration as a page, from the tree itself; `tools/config_reference.py` writes it."""

import inspect
import json
from typing import Any, get_args

from pydantic import BaseModel

from graticule.conf.choices import DEFAULTS, choices_of
from graticule.conf.parts import PARTS, Kind, find_class
from graticule.conf.tree import Config

_HEAD = """# Configuration

<!-- Made by tools/config_reference.py from the configuration itself; do not edit. -->

`graticule train` and `graticule prepare` take words: `group=choice` chooses a part, `section.key=value` sets a value.
Later ones win in this order: groups, experiment, debug, `--config` file, words. `--print-config` shows the result.

```sh
graticule train experiment=earth_small trainer.max_epochs=3 model=unet 'data.bands=[red,green]' --print-config
```

Lists are `[a,b]`, mappings `{a: 1}`, nothing is `null`; quote words with brackets or spaces. A key, choice or value
that does not exist ends in one line that names the nearest right one, with exit status 2. The resolved configuration
is `config.yaml` in the run folder, and `--config RUN/config.yaml` trains the same again.

## Files

`--config FILE` reads YAML, TOML or Python; words win over it. It may choose groups (`model: unet`) and set values,
nested or by dotted keys. A Python file defines `config` or `get_config()`, and is executed because you named it. It may
be its own job script:

```python
#!/usr/bin/env python
#SBATCH --time=4:00:00 --gpus=1
import sys

config = {"experiment": "earth", "trainer.precision": "bf16-mixed"}

if __name__ == "__main__":
    from graticule.cli import main

    sys.exit(main(["train", "--config", __file__]))
```

`sbatch my_run.py` starts it, and so does `python my_run.py`.

## Environment

| variable | meaning |
|---|---|
| `DATA_ROOT` | folder of stores that are not named by `data.store`; `stores` without it |
| `OUTPUT_ROOT` | default of `run.output_root`; `runs` without it |

Both, and the keys of trackers, may stand in a file `.env` in the working folder; what the environment has already wins.
The file is read and never logged.
"""


def reference() -> str:
    """The page as Markdown."""
    return "\n".join([_HEAD, *_groups(), *_section(Config, ""), *_parts("model"), *_parts("source")]) + "\n"


def _groups() -> list[str]:
    lines = ["## Groups", "", "| group | choices | without a word |", "|---|---|---|"]
    for group, default in DEFAULTS.items():
        choices = ", ".join(f"`{choice}`" for choice in choices_of(group))
        lines.append(f"| `{group}` | {choices} | {f'`{default}`' if default else 'none'} |")
    return [*lines, ""]


def _section(section: type[BaseModel], prefix: str) -> list[str]:
    """The table of a section's own keys, then its inner sections."""
    plain, inner = [], []
    for name, field in section.model_fields.items():
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            key = prefix + name
            inner += [
                f"## `{key}`",
                "",
                inspect.cleandoc(annotation.__doc__ or ""),
                "",
                *_section(annotation, key + "."),
            ]
        else:
            default = "must be given" if field.is_required() else f"`{_plain(field.default)}`"
            told = " ".join((field.description or "").split())
            plain.append(f"| `{prefix}{name}` | {default} | {told}{_among(annotation)} |")
    table = ["| key | default | meaning |", "|---|---|---|", *plain, ""] if plain else []
    return [*table, *inner]


def _among(annotation: Any) -> str:
    """The values to choose from, where there are such."""
    values = _literals(annotation)
    return f" One of {', '.join(f'`{value}`' for value in values)}." if values else ""


def _literals(annotation: Any) -> list[str]:
    found: list[str] = []
    for argument in get_args(annotation):
        found += [argument] if isinstance(argument, str) and len(get_args(annotation)) > 1 else _literals(argument)
    return found


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _parts(kind: Kind) -> list[str]:
    """What the classes of the nets or sources take."""
    lines = [f"## Options of each {kind}", ""]
    for name in PARTS[kind]:
        found = find_class(kind, name)
        text = inspect.cleandoc(found.__doc__ or "")
        summary, _, rest = text.partition("\n")
        arguments = rest.partition("Args:\n")[2].partition("\n\n")[0]
        given = [
            line for line in inspect.cleandoc(arguments).splitlines() if kind == "source" or not line.startswith(_GIVEN)
        ]
        lines += [f"### `{kind}={name}`", "", summary, ""]
        lines += [_item(kind, line) for line in _joined(given)] + [""]
    return lines


_GIVEN = ("in_channels:", "out_channels:", "base_pixels:")


def _joined(lines: list[str]) -> list[str]:
    """Lines that go on with spaces at their head, joined to the ones that they continue."""
    joined: list[str] = []
    for line in lines:
        if line.startswith(" ") and joined:
            joined[-1] += " " + line.strip()
        else:
            joined.append(line)
    return joined


def _item(kind: str, line: str) -> str:
    name, _, told = line.partition(":")
    return f"- `{kind}.{name}`: {told.strip()}"
