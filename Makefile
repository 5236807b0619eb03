# Two commands: `make quickstart` shows the whole loop, `make test` proves it. Neither needs root, a GPU or a download.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# One thread per test process: two processes share two cores better than four threads do.
# What errors the tests provoke is noted in .raises, for `make errors`. Compiled code is kept, whatever the environment
# says: hundreds of processes are started.
TEST := VESALIUS_RAISES=.raises PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install install-dev quickstart test test-slow errors fuzz lint type docs bench dependencies release clean

help:  ## what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Vesalius needs Python 3.11 or newer; set PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	@touch $@

install: $(VENV)/.installed  ## a virtual environment with Vesalius

install-dev: $(VENV)/.installed-dev  ## the same with what tests need

quickstart: install  ## from phantoms to a page of generated, gated images: the whole loop in minutes
	PATH="$(CURDIR)/$(BIN):$$PATH" bash runs/quickstart.sh

test: install-dev  ## all tests but the slow ones
	rm -f .raises/*.jsonl
	$(TEST) -m "not slow"

test-slow: install-dev  ## the slow tests
	$(TEST) -m slow

errors: install-dev  ## whether `make test` and `make test-slow` provoked every error that the code can raise
	$(BIN)/python tests/raises/check.py .raises

# One seed, so that the same code gets the same answer; `make fuzz FUZZ=-max_total_time=3600` looks further.
FUZZ ?= -max_total_time=60 -seed=1
fuzz: install-dev  ## bytes made up by atheris into the DICOM reader, for a minute
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[fuzz]"
	$(BIN)/python tests/data/dicom/fuzz_dicom.py $(FUZZ)

lint: install-dev  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: install-dev  ## mypy
	$(BIN)/mypy

# The notice of Material's end of life would stand above every build; the choice is in mkdocs.yml.
docs: install-dev  ## the documentation as a site, build/site; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: install  ## images/s beside plain code in one run, what drawing costs, files/s and memory of a build
	$(BIN)/python -m benchmarks.generate
	$(BIN)/python -m benchmarks.cost
	$(BIN)/python -m benchmarks.build speed
	$(BIN)/python -m benchmarks.build memory

dependencies: install-dev  ## docs/dependencies.md anew: who uses each, megabytes on disk, seconds to import
	$(BIN)/python -m benchmarks.dependencies

release: install-dev  ## sdist, wheel, bill of materials and checksums in dist/, of what is committed
	PYTHON=$(BIN)/python bash .ci/release

clean:  ## what tests and the quickstart left
	rm -rf quickstart build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .raises
