SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# A stage runs as `python -m ...`: the python of .venv.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DO_NOT_TRACK := 1
export GX_ANALYTICS_ENABLED := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup browser demo-parts repro projects review review-projects gpu-kit runtime test test-slow test-torchao mutants soak peers benchmarks check check-packages hashes format deps readme picture clean

# The targets that a user has, first.
USUAL = setup repro test projects review runtime clean help
help:  ## what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {told[$$1] = $$2; names[++n] = $$1} \
		function line(name) {printf "  make %-15s  %s\n", name, told[name]; delete told[name]} \
		END {m = split("$(USUAL)", usual, " "); for (i = 1; i <= m; i++) line(usual[i]); \
		print "\nFor those who change Winnow itself:"; for (i = 1; i <= n; i++) if (names[i] in told) line(names[i])}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## make .venv with the pinned packages
	@echo 'Ready. Next: source .venv/bin/activate; winnow init FOLDER --data FILE, or make repro for the project here.'

# Made again when the pins change; the stamp is written last, so a broken install is never taken for done.
# A package called winnow is ours by its name of before, or a stranger's: either would hide this one.
.venv/.ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Winnow needs Python 3.11 or newer; set PYTHON=")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	rm -rf winnow.egg-info
	$(BIN)/python -m pip uninstall --quiet --quiet --yes winnow
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

# PROJECT is a folder of projects/, or any other of yours; without it, this one.
IN = $(if $(PROJECT),$(or $(wildcard projects/$(PROJECT)),$(wildcard $(PROJECT)),$(PROJECT)),.)
repro: .venv/.ready  ## reproduce every result: data, models, metrics; then print the table of models (PROJECT=NAME)
	@cd "$(IN)" && winnow fetch && winnow check && dvc repro && winnow metrics

# Of the names of folders those that a shell takes as they are.
WORKED = $(shell ls -d projects/*/dvc.yaml | sed -nE 's,^projects/([A-Za-z0-9._-]+)/dvc.yaml$$,\1,p')
projects: .venv/.ready  ## reproduce each worked project of projects/, one after the other
	@for name in $(WORKED); do echo "projects/$$name"; $(MAKE) --no-print-directory repro PROJECT="$$name" || exit 1; done

# Without the data of a stage, what matches dvc.lock counts as done: so does CI. BASE is a branch, a tag or a commit.
review: .venv/.ready  ## what this branch changes, in artifacts/review; is dvc.lock of this code? (BASE=main, PROJECT=NAME, PICTURES=1)
	@cd "$(IN)" && if [ -n "$$(dvc remote list)" ]; then dvc pull --quiet || echo "review: not all data is in the remote"; fi
	@cd "$(IN)" && winnow review $${BASE:+--base "$$BASE"} $${PICTURES:+--pictures}
	@cd "$(IN)" && winnow plan --check

# The comment on a pull request that says "no review" is of the folder that a failed one leaves empty.
review-projects: .venv/.ready  ## the same of each worked project that differs from BASE; of the others only dvc.lock
	@for name in $(WORKED); do echo "projects/$$name"; \
		if git diff --quiet "$${BASE:-main}...HEAD" -- "projects/$$name"; then \
			(cd "projects/$$name" && winnow check && winnow plan --check); \
		else \
			mkdir -p "projects/$$name/artifacts/review" && $(MAKE) --no-print-directory review PROJECT="$$name"; \
		fi || failed=1; \
	done; exit $${failed:-0}

browser:  ## install Chromium for the tests of pages (Debian, as root); without it they are skipped
	@command -v chromium > /dev/null || { test "$$(id -u)" = 0 && apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core; }

demo-parts: .venv/.ready  ## fetch what `winnow demo` puts into its pages, for its tests; without it they are skipped (33 MB, npm)
	@$(BIN)/winnow fetch --demo

# A thread each: two test processes that both use two are slower than one. Files in the order of tests/conftest.py.
test: .venv/.ready  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" --durations 15 tests

test-slow: .venv/.ready test-torchao  ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow tests

# Beside .venv's packages, not among them: where torchao is installed, transformers imports it in every stage.
test-torchao: .venv/.ready  ## run the tests of the backend torchao_int8
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .venv/torchao --constraint constraints.txt torchao
	PYTHONPATH=.venv/torchao $(BIN)/python -m pytest -k torchao tests/test_quantization.py tests/test_bilstm.py

mutants: .venv/.ready  ## break 84 lines of the product, one at a time: do the tests notice? At most two may survive
	$(BIN)/python tests/mutants.py

soak: .venv/.ready  ## 50 scheduled retrains amid SIGKILLs: ten minutes; figures go to benchmarks/soak.json
	PYTHONPATH=benchmarks $(BIN)/python tests/soak.py --output benchmarks/soak.json

# Beside .venv's packages, not among them: nothing but the benchmarks knows of these.
peers: .venv/.ready  ## install what benchmarks/data.py and ratings.py compare with and nothing else needs (benchmarks/peers.txt)
	$(BIN)/python -m pip install --quiet --upgrade --no-deps --target .venv/peers --requirement benchmarks/peers.txt

# The machine should have nothing else to do. By hand: ratings.py (of another project), and the long ones, training.py,
# choices.py, runtime.py, data.py with more rows, banking77.py, entities.py, multi30k.py, published.py, zero.py, writing.py, app.py --soak 10,
# soak; on a GPU, gpu.py, by gpu-kit.
benchmarks: .venv/.ready peers  ## measure again what takes minutes: benchmarks/*.json (a quarter of an hour, after repro)
	for name in runners compression evaluation_overhead orchestration encoder_step distillation app; do \
		$(BIN)/python benchmarks/$$name.py || exit 1; \
	done
	PYTHONPATH=.venv/peers $(BIN)/python benchmarks/data.py --rows 100000

# The machine needs no index and no git: the folder is all of it. KIT_PYTHON is the version of its python3.
gpu-kit: .venv/.ready  ## after repro: write .gpu-kit, for a machine with a GPU; there: .gpu-kit/run.sh OUT (docs/gpu.md)
	PYTHONPATH=benchmarks $(BIN)/python -m gpu_kit.build --python $(or $(KIT_PYTHON),3.12)

# Needs no torch where it is installed: docs/deployment.md.
runtime: .venv/.ready  ## build the light install, which answers and makes nothing: dist/*.whl and what it needs
	$(BIN)/python -m flows.runtime.build

check: .venv/.ready  ## lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check-packages: .venv/.ready  ## are the installed packages those that hashes.txt pins?
	$(BIN)/winnow check --packages

hashes: .venv/.ready  ## write hashes.txt again, where constraints.txt has changed: downloads some 200 wheels
	$(BIN)/python -m flows.running.packages

format: .venv/.ready  ## format and mend what the linter can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

deps: .venv/.ready  ## write the code among the deps of dvc.yaml, from what the stages import
	$(BIN)/python -m flows.dvc.code_deps

readme: .venv/.ready  ## write the README's tables and the cards again, from dvc.yaml, params.yaml and metrics/
	$(BIN)/python -m flows.review.readme

picture: .venv/.ready browser  ## draw the page of a review for the README: docs/review.png (BASE=main, say)
	@$(BIN)/winnow review $${BASE:+--base "$$BASE"} > /dev/null
	$(BIN)/python docs/picture.py artifacts/review/review.html docs/review.png

clean:  ## remove artifacts and caches; .venv and the DVC cache stay
	rm -rf artifacts .pytest_cache .mypy_cache .ruff_cache
