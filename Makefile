# The commands of the project. `make demo` and `make test` work in a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
SOURCES := energy_plugin adapters tests examples

.PHONY: help demo install check test test-slow format clean

help:
	@echo "make demo       install into .venv and run the demonstration"
	@echo "make test       install, static checks, tests"
	@echo "make test-slow  the long tests"
	@echo "make check      static checks only (ruff, mypy)"
	@echo "make format     rewrite the sources in house style"
	@echo "make clean      remove caches and the demonstration (the environment stays)"

demo: $(STAMP)
	$(BIN)/energy-plugin demo

install: $(STAMP)

# Installs again only when what is to be installed has changed.
$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $(STAMP)

check: $(STAMP)
	$(BIN)/ruff check $(SOURCES)
	$(BIN)/ruff format --check $(SOURCES)
	$(BIN)/mypy

test: check
	$(BIN)/python -m pytest

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m "slow and not gpu"

format: $(STAMP)
	$(BIN)/ruff check --fix $(SOURCES)
	$(BIN)/ruff format $(SOURCES)

clean:
	rm -rf .demo .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist
