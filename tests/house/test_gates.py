"""The gates of the house refuse a planted fault."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _planted_copy(tmp_path: Path, file: str, line: str) -> Path:
    """A copy of the package and its contract in which `line` is added to `file`."""
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__", "*.jpg", "*.png"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    target = tmp_path / "src" / "graticule" / file
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text((target.read_text() if target.exists() else "") + f"\n{line}\n")
    return tmp_path


def _lint_imports(folder: Path) -> subprocess.CompletedProcess[str]:
    script = "import sys; sys.path.insert(0, 'src'); from importlinter.cli import lint_imports_command as c; c()"
    command = [sys.executable, "-c", script, "--no-cache"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("file", "line"),
    [
        ("grids/__init__.py", "import graticule.schema"),
        ("models/__init__.py", "import graticule.data"),
        ("reporting/__init__.py", "import torch"),
        ("utils.py", '"""A stray room."""'),
    ],
    ids=["looks up", "sees a sibling", "torch in a report", "stray file"],
)
def test_import_contract_refuses_a_planted_fault(tmp_path, file, line):
    result = _lint_imports(_planted_copy(tmp_path, file, line))
    assert result.returncode != 0, result.stdout
    assert "BROKEN" in result.stdout or "utils" in result.stdout + result.stderr


def test_import_contract_holds(tmp_path):
    result = _lint_imports(_planted_copy(tmp_path, "grids/__init__.py", ""))
    assert result.returncode == 0, result.stdout + result.stderr


def test_size_gate_names_long_files_and_functions(tmp_path):
    (tmp_path / "long_file.py").write_text("x = 1\n" * 501)
    (tmp_path / "long_function.py").write_text("def f():\n" + "    x = 1\n" * 70)
    (tmp_path / "fine.py").write_text("def f():\n" + "    x = 1\n" * 69)
    command = [sys.executable, str(ROOT / "tools" / "check_sizes.py"), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "long_file.py: 501 lines; at most 500" in result.stdout
    assert "f has 71 lines; at most 70" in result.stdout
    assert "fine.py" not in result.stdout
