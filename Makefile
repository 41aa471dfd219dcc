SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# A stage runs as `python -m ...`: the python of .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup repro test test-slow check format readme clean

help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## make .venv with the pinned packages

# Made again when the pins change; the stamp is written last, so a broken install is never taken for done.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Winnow needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

repro: .venv/.ready  ## reproduce every result: data, models, metrics; then print the table of models
	@$(BIN)/winnow check
	@$(BIN)/dvc repro
	@$(BIN)/winnow metrics

test: .venv/.ready  ## run the tests
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow" tests

test-slow: .venv/.ready  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow tests

check: .venv/.ready  ## lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: .venv/.ready  ## format and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: .venv/.ready  ## write the README's generated tables again, from dvc.yaml and metrics/
	$(BIN)/python -m flows.readme

clean:  ## remove artifacts and caches; .venv and the DVC cache stay
	rm -rf artifacts .pytest_cache .mypy_cache .ruff_cache
