# The two commands of the README are `make demo` and `make test`; `make help` lists all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= requirements/constraints.txt
# One thread a process: several processes with several threads each slow one another.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help venv demo test coverage test-docs lint test-numpy1 clean-demo

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

venv: $(BIN)/.installed  ## create .venv and install the package with locked versions

$(BIN)/.installed: setup.py pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check \
	    -c $(CONSTRAINTS) -e '.[mmcv-lite,optional,tests]' setuptools
	# Left out by the package where decord has no wheel: docs/install.md
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps \
	    -c $(CONSTRAINTS) mmaction2
	touch $@

demo: venv  ## make the motion benchmark, train TSN with and without SELFY, show both
	$(BIN)/python tools/motion_demo.py

test: venv lint  ## lint and the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadfile

# Python 3.12 and newer can trace lines at no cost; before, it takes a half longer.
coverage: venv  ## the whole test suite with coverage; fails below the floor
	COVERAGE_CORE=$$($(BIN)/python -c \
	    'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	    $(BIN)/python -m pytest -n 2 --dist loadfile --cov

test-docs: venv  ## links, snippets and tables of the pages
	$(BIN)/python -m pytest tests/test_links.py tests/test_snippets.py \
	    tests/test_tools/test_write_tables.py

lint: venv  ## ruff, spelling, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

test-numpy1:  ## the test suite on numpy 1.26, in a venv of its own
	sed -E '/^(numpy|opencv)/d' requirements/constraints.txt \
	    | cat - requirements/constraints-numpy1.txt > .constraints-numpy1.txt
	$(MAKE) test VENV=.venv-numpy1 CONSTRAINTS=.constraints-numpy1.txt

clean-demo:  ## forget the demo's data and training
	rm -rf data/motion work_dirs/motion
