"""The gate on size: files of at most 500 lines, functions of at most 70.

Usage: python tools/check_sizes.py FOLDER...
"""

import ast
import sys
from pathlib import Path

MOST_FILE_LINES = 500
MOST_FUNCTION_LINES = 70


def faults(path: Path) -> list[str]:
    """One line per file or function that is too long, with its length and the limit."""
    text = path.read_text()
    length = len(text.splitlines())
    found = [f"{path}: {length} lines; at most {MOST_FILE_LINES}"] if length > MOST_FILE_LINES else []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MOST_FUNCTION_LINES:
                found.append(f"{path}:{node.lineno}: {node.name} has {length} lines; at most {MOST_FUNCTION_LINES}")
    return found


def main(folders: list[str]) -> int:
    """Print every fault below the folders; 1 if there is any."""
    found = [line for folder in folders for path in sorted(Path(folder).rglob("*.py")) for line in faults(path)]
    print("\n".join(found) or "sizes: every file and function is within its limit")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
