# make test: set up .venv from this project's own files and run the tests. Needs python3 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

test: $(VENV)/.stamp
	$(BIN)/python -m pytest -q

$(VENV)/.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e '.[test]'
	touch $@

clean:
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache

.PHONY: test clean
