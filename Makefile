# `make` alone lists the targets. Every target that needs the environment builds it first, from the lock.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_PYTHON_DOWNLOADS := never
export UV_COMPILE_BYTECODE := 1
export UV_LINK_MODE := copy
SCENARIO ?= az-loss
SUITE ?= pr
CHANGE ?=
ARGS ?=

.PHONY: help setup gameday pipeline suite power lab test test-all coverage mutation fuzz bench check fix lock docs gate clean

help:  ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## build .venv from requirements.lock (any target does it when needed)

$(VENV)/.ready: requirements.lock requirements-uv.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else f"Python {sys.version.split()[0]} is too old: need >= 3.11 (set PYTHON=...)")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements-uv.lock
	@$(BIN)/uv pip sync -q --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

gameday: setup  ## run a game day: SCENARIO=az-loss, CHANGE=drop-idempotency, ARGS="--rate 50"
	@$(BIN)/gameday run $(SCENARIO) $(if $(CHANGE),--change $(CHANGE)) $(ARGS)

pipeline: setup  ## a game day conducted by Step Functions: SCENARIO=az-loss, CHANGE=drop-idempotency, ARGS="-p load_tasks=3"
	@$(BIN)/gameday pipeline run $(SCENARIO) $(if $(CHANGE),--change $(CHANGE)) $(ARGS)

suite: setup  ## run many scenarios under one gate: SUITE=pr|nightly, CHANGE=…, ARGS="--jobs 2"
	@$(BIN)/gameday suite $(SUITE) $(if $(CHANGE),--change $(CHANGE)) $(ARGS)

power: setup  ## how good is the gate: bad changes that it must catch, good runs: ARGS="--good 30", about an hour
	@$(BIN)/gameday power $(ARGS)

lab: setup  ## open JupyterLab on notebooks/
	@$(BIN)/jupyter lab --notebook-dir=notebooks $(ARGS)

test: setup  ## all tests but the slow ones, in two processes; where CI is set, those too, one by one, but no matrices
	@$(BIN)/python -m pytest --durations=20 --numprocesses=2 --dist=loadfile $(ARGS)
	@$(if $(CI),$(BIN)/python -m pytest --durations=20 -m "slow and not matrix" $(ARGS))

test-all: setup  ## all tests, the matrices of scenarios and bad changes too
	@$(BIN)/python -m pytest -m "" $(ARGS)

coverage: setup  ## the fast tests with line coverage of kit and paperbroker (also of child processes, unless they are killed)
	@$(BIN)/python -m pytest --cov=kit --cov=paperbroker --cov-report=term:skip-covered --cov-report=html:reports/coverage $(ARGS)

mutation: setup  ## which faulty changes of PaperBroker the fast tests notice: ARGS="--seed 1 --count 200"
	@$(BIN)/python -m tests.mutation $(ARGS)

fuzz: setup  ## look for inputs that break a parser, a minute each: ARGS="api proxy --seconds 600 --seed 7"
	@$(BIN)/python -m tests.fuzz $(ARGS)

bench: setup  ## the benchmarks (they print, they do not judge the machine)
	@$(BIN)/python -m tests.bench $(ARGS)

check: setup  ## lint, format, types, import contracts
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/nbstripout --verify notebooks/*.ipynb
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo

fix: setup  ## what ruff can repair by itself
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: setup  ## resolve pyproject.toml anew into requirements.lock, requirements-uv.lock and environment.yml
	@$(BIN)/uv pip compile -q --universal --generate-hashes --python-version 3.11 --extra dev --no-header --no-annotate pyproject.toml -o requirements.lock
	@$(BIN)/python tests/tidy/environment.py

docs: setup  ## make the tables in docs/fidelity.md again, from the code and kit/scenarios/fidelity.yaml
	@$(BIN)/python -m tests.tidy.fidelity_page

clean:  ## remove the environment and all reports
	rm -rf $(VENV) reports/*/
