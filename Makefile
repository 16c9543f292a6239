# Everything is set up by the targets themselves: a bare machine needs Python 3.11 or newer with pip and venv.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo test lint bench docs clean

demo: .venv/ready  ## Prepare the built-in Earth, train on both grids, predict the whole Earth, write the report
	PATH="$(CURDIR)/$(BIN):$$PATH" bash tools/demo.sh

test: .venv/ready  ## Run all tests
	$(BIN)/pytest -n 2

lint: .venv/ready  ## Style, types, import contract, size gate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/check_sizes.py src tests benchmarks tools

bench: .venv/ready  ## Measure what is fast; each figure is a ratio with its goal beside it
	PATH="$(CURDIR)/$(BIN):$$PATH" bash benchmarks/run_all.sh

docs: .venv/docs-ready  ## Build the documentation into site/
	$(BIN)/mkdocs build --strict

.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

.venv/docs-ready: .venv/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev,docs]"
	touch $@

clean:  ## Remove what the targets made (not runs and stores)
	rm -rf .venv site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
