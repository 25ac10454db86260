# The commands of the project. `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# An interpreter that is asked for, as in `make test PYTHON=python3.12`, takes the place of another.
VERSION := -c 'import platform as p; print(p.python_implementation(), p.python_version())'
ifneq ($(origin PYTHON),file)
ifneq ($(shell $(PYTHON) $(VERSION)),$(shell $(BIN)/python $(VERSION) 2>/dev/null))
OTHER := other-python
endif
endif
STAMP := $(VENV)/.installed
SOURCES := .ci energy_plugin adapters tests examples docs/conf.py docs/figures.py docs/readme_figure.py

# Processes that run the tests, one more than cores as some wait; a file's tests stay in one.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN); echo $$((n < 4 ? n + 1 : 4)))

# What the coverage must reach, in per cent of the lines; and what `audit` accepts.
LINES ?= 90
AUDIT ?=

.PHONY: help demo install lint style types audit coverage check test test-slow test-oldest test-newest test-pythons docs dist gpu format clean

help:
	@echo "make demo    install into .venv and run the demonstration"
	@echo "make test    install, static checks, tests: what continuous integration runs"
	@echo "make test-slow  the tests that take minutes each"
	@echo "make lint    static checks only (ruff, mypy)"
	@echo "make check   before a release: lint, audit, the tests under coverage, and the documentation"
	@echo "make audit   known vulnerabilities of the pinned dependencies"
	@echo "make coverage   the tests of make test, with the lines and branches that they run"
	@echo "make test-oldest  the hosts' tests on the oldest versions of the databases, likewise test-newest"
	@echo "make test-pythons  the tests on Python 3.10 to 3.13, as far as they are here"
	@echo "make docs    the documentation, into build/docs"
	@echo "make dist    wheel and sdist, each installed into an empty environment and tried there"
	@echo "make gpu     on a machine with an NVIDIA card: check and measure what it decides, in 8 minutes"
	@echo "make format  rewrite the sources in house style"
	@echo "make clean   remove caches and the demonstration (the environment stays)"

demo: $(STAMP)
	$(BIN)/energy-plugin demo

install: $(STAMP)

# Installs again only when what is to be installed has changed. An environment without a
# working pip, left behind by an interrupted run, is rebuilt. Pinned are the build's own
# requirements too: by PIP_CONSTRAINT, from pip 25.3 on by PIP_BUILD_CONSTRAINT.
$(STAMP): pyproject.toml constraints.txt $(OTHER)
	$(if $(OTHER),false,$(BIN)/python -m pip --version >/dev/null 2>&1) || $(PYTHON) -m venv --clear $(VENV)
	PIP_CONSTRAINT=constraints.txt PIP_BUILD_CONSTRAINT=constraints.txt \
		$(BIN)/python -m pip install --disable-pip-version-check -e ".[dev]"
	@touch $(STAMP)

.PHONY: other-python
other-python:

lint: style types

style: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)

types: $(STAMP)
	$(BIN)/mypy

# Fails where no advisory service answers; AUDIT=--unreachable-ok accepts that.
audit: $(STAMP)
	$(BIN)/python .ci/audit.py constraints.txt $(AUDIT)

coverage: $(STAMP)
	$(BIN)/python -m coverage erase
	$(BIN)/python -m coverage run -m pytest
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage json -q -o build/coverage.json
	$(BIN)/python .ci/coverage_table.py build/coverage.json --lines $(LINES)

check: lint audit coverage docs

# The types beside the tests: mypy has nothing kept on a fresh machine and takes one core's minute.
test: style
	$(MAKE) --no-print-directory types & types=$$!; \
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile; tests=$$?; \
	wait $$types || { echo "mypy found errors, printed above" >&2; exit 1; }; exit $$tests

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-oldest test-newest:
	PYTHON=$(PYTHON) .ci/host-versions.sh $(@:test-%=%)

# PYTHONS="3.10 3.13" for some of them, ARGS for pytest, as in ARGS=tests/energy.
test-pythons:
	.ci/pythons.sh $(ARGS)

docs: $(STAMP)
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs

# KINDS=wheel tries the wheel alone.
dist: $(STAMP)
	PYTHON=$(BIN)/python .ci/dist.sh

# On a machine with an NVIDIA card: needs the checkout, and a Python that has torch.
gpu:
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) .ci/gpu.py $(ARGS)

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf .coverage* .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
