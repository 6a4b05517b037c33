# Two commands: `make demo` and `make test`. Each builds what it needs (a .venv with the
# pinned packages) from Python, make and a package index, and is faster the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
TESTS ?=
BENCH ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow bench calibrate lint format clean

help:
	@echo "make demo       how much six personas move a small model's accuracy"
	@echo "make test       ruff, mypy and the tests"
	@echo "make test-slow  the long checks"
	@echo "make bench      how fast grading, runs, scoring and the store are, beside their peers"
	@echo "make calibrate  bias and coverage on models whose truth is known (an hour or more)"
	@echo "make format     ruff format and its safe fixes"
	@echo "make clean      remove what these commands made"

$(INSTALLED): pyproject.toml constraints.txt hatch_build.py persona_bench_autoload.py persona_bench_autoload.pth
	@echo "== Installing into $(VENV) (torch among it: three to ten minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Persona Bench needs Python 3.10 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(INSTALLED)
	@echo "== Demo: a real 135M model under six personas (two to five minutes on two cores)"
	@$(BIN)/persona-bench demo

lint: $(INSTALLED)
	@echo "== ruff and mypy (under a minute)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

test: lint
	@echo "== Tests, on a real model and a real server (about twenty minutes on two cores)"
	@$(BIN)/python -m pytest -m "not slow" $(TESTS)

test-slow: $(INSTALLED)
	@echo "== Long checks (under a minute so far)"
	@$(BIN)/python -m pytest -m slow $(TESTS)

calibrate: $(INSTALLED)
	@echo "== Simulated models: 378 settings of 1,000 replicates, then 15 pairs"
	@$(BIN)/python scripts/calibrate.py --csv calibration.csv

bench: $(INSTALLED)
	@$(BIN)/python -m scripts.bench $(BENCH)

format: $(INSTALLED)
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) demo-results .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist
