# make demo | make test | make check; everything is installed into $(VENV) first.
#
# Your own torch:  make demo TORCH="torch==2.7.1" TORCH_INDEX=<the index that pytorch.org names for your device>
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.13.0
TORCH_INDEX ?=
WORKERS ?= 2

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX),)

.PHONY: demo test lint types layers check clean

demo: $(VENV)/.base
	$(BIN)/scanweave demo -o demo

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n $(WORKERS)

check: lint types layers

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

layers: $(VENV)/.dev
	$(BIN)/lint-imports

$(VENV)/.torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install -q $(INDEX) "$(TORCH)"
	@touch $@

$(VENV)/.base: $(VENV)/.torch pyproject.toml constraints.txt
	$(PIP) install -q -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(PIP) install -q -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) demo build dist
