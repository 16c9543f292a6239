"""The four rules by which a masker and a painter are loaded, as a table."""

import pytest

from graticule.errors import CheckpointError, ConfigError
from graticule.training.load_rules import LoadPaths, load_paths, parse_load


@pytest.fixture
def there(tmp_path, monkeypatch):
    """Runs M, P and O, folders B of both and `half`, an exported model E, an empty folder, a file of another kind."""
    monkeypatch.chdir(tmp_path)
    for run in ("M", "P", "O", "B/masker", "B/painter", "half/painter"):
        (tmp_path / run / "checkpoints").mkdir(parents=True)
        for name in ("last.ckpt", "best.ckpt"):
            (tmp_path / run / "checkpoints" / name).touch()
    for folder in ("E", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "E" / "weights.safetensors").touch()
    (tmp_path / "M.pth").touch()


LAST = "checkpoints/last.ckpt"


@pytest.mark.parametrize(
    ("told", "parts", "output", "m", "p"),
    [
        ({"m": "M"}, "m", None, f"M/{LAST}", None),  # rule 1
        ({"m": "M/checkpoints"}, "m", None, f"M/{LAST}", None),
        ({"m": "E"}, "m", None, "E/weights.safetensors", None),
        ({"m": "M/checkpoints/best.ckpt"}, "m", None, "M/checkpoints/best.ckpt", None),  # rule 2
        ({"m": None, "p": "none"}, "m", "O", f"O/{LAST}", None),  # rule 3
        ({}, "p", "O", None, f"O/{LAST}"),
        ({"p": "P"}, "p", "O", None, f"P/{LAST}"),
        ({"m": "M", "p": "P"}, "mp", "O", f"M/{LAST}", f"P/{LAST}"),  # rule 4
        ({"pm": "B"}, "pm", None, f"B/masker/{LAST}", f"B/painter/{LAST}"),
        ({}, "mp", "B", f"B/masker/{LAST}", f"B/painter/{LAST}"),
    ],
)
def test_what_is_loaded(there, told, parts, output, m, p):
    found = load_paths(told, list(parts), output)
    assert (found.m and found.m.as_posix(), found.p and found.p.as_posix()) == (m, p)
    assert isinstance(found, LoadPaths)


@pytest.mark.parametrize(
    ("told", "parts", "output", "error", "says"),
    [
        ({"m": "empty"}, "m", None, CheckpointError, "empty has no checkpoint"),
        ({"m": "gone"}, "m", None, CheckpointError, "gone is no folder and no .ckpt or .safetensors file"),
        ({"m": "gone.ckpt"}, "m", None, CheckpointError, "there is no checkpoint gone.ckpt"),
        ({"m": "M.pth"}, "m", None, CheckpointError, "M.pth is no folder and no .ckpt or .safetensors file"),
        ({"m": "M", "p": "P"}, "m", None, ConfigError, "only the masker is loaded, and load_paths also has p"),
        ({"pm": "O"}, "p", None, ConfigError, "only the painter is loaded, and load_paths also has pm"),
        ({}, "p", None, ConfigError, "nothing says what to load the painter from; give p=PATH"),
        ({}, "mp", None, ConfigError, "nothing says what to load the painter and masker from; give pm=PATH"),
        ({"m": "M"}, "mp", "O", ConfigError, "has m and no p, and the painter is needed too"),
        ({"p": "P"}, "mp", "O", ConfigError, "has p and no m, and the masker is needed too"),
        ({"pm": "half"}, "mp", None, CheckpointError, "half has no folder 'masker', so that it holds no masker"),
        ({"pm": "B/masker/checkpoints/last.ckpt"}, "mp", None, CheckpointError, "last.ckpt has no folder 'masker'"),
        ({"pm": "O", "m": "M"}, "mp", None, ConfigError, "has pm and also m; give pm alone"),
        ({"m": "O", "p": "O"}, "mp", None, ConfigError, "O as m and as p; a path for both is given as pm"),
        ({"x": "O"}, "mp", None, ConfigError, "load_paths has no 'x'; the known ones are: m, p, pm."),
        ({"m": "M"}, "", None, ConfigError, "parts to load are"),
    ],
)
def test_what_is_refused(there, told, parts, output, error, says):
    with pytest.raises(error) as refused:
        load_paths(told, list(parts), output)
    assert says in str(refused.value)


def test_words_of_the_command_line():
    assert parse_load(["m=runs/a=b", "p=P"]) == {"m": "runs/a=b", "p": "P"}
    for words, says in (
        (["runs"], "'runs' says nothing of what to load"),
        (["m="], "'m=' says nothing of what to load"),
        (["q=P"], "'q' in 'q=P' is no part to load"),
        (["m=A", "m=B"], "m= is given twice \\(A and B\\)"),
    ):
        with pytest.raises(ConfigError, match=says):
            parse_load(words)
