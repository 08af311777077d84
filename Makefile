# `make demo` and `make test` are the commands in the README; `make help` lists all.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= requirements/constraints.txt
RELEASE_VENV ?= .venv-release
RELEASE_BIN := $(RELEASE_VENV)/bin
# The oldest and the newest on which the test suite ran (docs/install.md).
PYTHONS ?= 3.10 3.13
# A folder to keep the checked files in; anything, to allow the CUDA build of torch.
DIST ?=
CUDA ?=
SBOM ?= sbom.cdx.json
# One thread per process: the test suite runs several processes.
export OMP_NUM_THREADS ?= 1

.DEFAULT_GOAL := help
.PHONY: help venv demo docs test test-all coverage test-docs lint test-numpy1 \
    clean-demo release-check sbom audit

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/'

venv: $(BIN)/.installed  ## create .venv and install the package with locked versions

$(BIN)/.installed: setup.py pyproject.toml $(wildcard requirements/*.txt)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check \
	    -c $(CONSTRAINTS) -e '.[mmcv-lite,optional,visualize,deploy,openvino,tests]' setuptools
	# Not a dependency of the package on platforms without a decord wheel: docs/install.md
	$(BIN)/python -m pip install --disable-pip-version-check --no-deps \
	    -c $(CONSTRAINTS) mmaction2
	touch $@

demo: venv  ## generate the motion benchmark, train TSN with and without SELFY, compare
	$(BIN)/python tools/motion_demo.py

# The order of the files lets long ones overlap with many short ones.
test: venv lint  ## lint, then all tests but the slow ones
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m 'not slow'

test-all: venv lint  ## lint, then all tests
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Tracing is nearly free on Python 3.12 and newer; older ones take 1.5 times as long.
coverage: venv  ## run the test suite with coverage; fail if it is below the floor
	COVERAGE_CORE=$$($(BIN)/python -c \
	    'import sys; print("sysmon" if sys.version_info >= (3, 12) else "ctrace")') \
	    $(BIN)/python -m pytest -n 2 --dist loadfile --cov

test-docs: venv  ## check links, snippets, commands and tables of the docs
	$(BIN)/python -m pytest tests/test_links.py tests/test_snippets.py \
	    tests/test_commands_in_docs.py tests/test_tools/test_write_tables.py

docs: $(BIN)/.installed-docs  ## build the site in build/docs; warnings are errors
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs build/docs
	@echo 'open build/docs/index.html'

$(BIN)/.installed-docs: $(BIN)/.installed requirements/docs.txt
	$(BIN)/python -m pip install --disable-pip-version-check \
	    -c $(CONSTRAINTS) -r requirements/docs.txt
	touch $@

lint: venv  ## ruff, codespell, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	$(BIN)/mypy

test-numpy1:  ## run `make test` on numpy 1.26 in a separate venv
	sed -E '/^(numpy|opencv)/d' requirements/constraints.txt \
	    | cat - requirements/constraints-numpy1.txt > .constraints-numpy1.txt
	$(MAKE) test VENV=.venv-numpy1 CONSTRAINTS=.constraints-numpy1.txt

clean-demo:  ## delete the demo's data and checkpoints
	rm -rf data/motion work_dirs/motion

$(RELEASE_BIN)/.installed: requirements/release.txt
	$(PYTHON) -m venv $(RELEASE_VENV)
	$(RELEASE_BIN)/python -m pip install --disable-pip-version-check -r $<
	touch $@

release-check: $(RELEASE_BIN)/.installed  ## build and check sdist and wheel, try the wheel in empty environments
	$(RELEASE_BIN)/python release/check_release.py $(PYTHONS) \
	    $(if $(DIST),--dist $(DIST)) $(if $(CUDA),--cuda)

# Both Pythons' versions are listed. Without times and random numbers, so that the same
# lock gives the same file.
sbom: $(RELEASE_BIN)/.installed  ## list the locked packages in sbom.cdx.json (CycloneDX)
	$(RELEASE_BIN)/cyclonedx-py requirements requirements/constraints.txt \
	    --spec-version 1.6 --output-format JSON --output-reproducible --output-file $(SBOM)

# pip-audit takes one version per package: first all but those for old Pythons, then those.
audit: $(RELEASE_BIN)/.installed  ## look up known vulnerabilities of the locked packages
	status=0; for lines in '/python_version </d' '/python_version </!d'; do \
	    sed -e '/^#/d' -e "$$lines" -e 's/;.*//' requirements/constraints.txt \
	    | $(RELEASE_BIN)/pip-audit --strict --no-deps --disable-pip -r /dev/stdin || status=1; \
	done; exit $$status
