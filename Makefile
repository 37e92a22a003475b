# make test    set up .venv from this project's own files; lint, types, all tests
# make check   the same within a minute: lint, types, the quick tests
# make demo    train on the handwritten digits
# make bench   compare with PyTorch
# make docs    the documentation as a site, in site/
# make clean   remove what these made
#
# Needs make and Python 3.11 or newer, found as python3 (or say PYTHON=...).

PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
QUICK := tests/core tests/support tests/test_layers.py tests/test_runner.py tests/tensor/test_printing.py

.PHONY: test check lint types demo bench docs clean

test: $(VENV)/.test lint types
	$(BIN)/python -m pytest -q

check: $(VENV)/.test lint types
	$(BIN)/python -m pytest -q $(wildcard $(QUICK))

lint: $(VENV)/.test
	$(BIN)/ruff check .

types: $(VENV)/.test
	$(BIN)/mypy

demo: $(VENV)/.demo
	$(BIN)/python examples/digits.py

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/run.py

docs: $(VENV)/.docs
	$(BIN)/python tools/reference.py docs/reference
	$(BIN)/python -m mkdocs build --strict --quiet

# A stamp per set of extras, so that each is installed once and again when pyproject.toml changes.
$(VENV)/.test: EXTRAS := test
$(VENV)/.demo: EXTRAS := demo
$(VENV)/.bench: EXTRAS := bench
$(VENV)/.docs: EXTRAS := docs
$(VENV)/.test $(VENV)/.demo $(VENV)/.bench $(VENV)/.docs: pyproject.toml | $(BIN)/pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	touch $@

# Some distributions ship Python without ensurepip: pip then comes from its own bootstrap script.
$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; say PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV) || { $(PYTHON) -m venv --without-pip $(VENV) && $(BIN)/python -c \
		"from urllib.request import urlopen; exec(urlopen('https://bootstrap.pypa.io/get-pip.py').read())"; }

clean:
	rm -rf $(VENV) build dist runs site docs/reference .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
