# make demo: train BEGAN on the bundled digits; make test: every check and test; make docs: the docs site, in site/.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/ready

# Some containers forbid bytecode files, and then each of the hundreds of processes that tests start compiles all anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-all check docs format clean

demo: $(READY)
	$(BIN)/equipoise train began --preset demo --out runs/demo --resume-if-exists

# Everything as if this machine did not multiply bf16 natively; then what that could change, as if it did. By stealing,
# the tests of a file stay in one process, so that what they share is made once; of the few of the second run, by file.
test: check docs
	$(BIN)/pytest -n auto --dist worksteal -m "not long"
	EQUIPOISE_AUTO_PRECISION=bf16 $(BIN)/pytest -n auto --dist loadfile -m "not long" --asked-auto

test-all: check docs
	$(BIN)/pytest -n auto --dist worksteal
	EQUIPOISE_AUTO_PRECISION=bf16 $(BIN)/pytest -n auto --dist loadfile --asked-auto

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# A broken link or anchor is an error.
docs: $(READY)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Versions come from constraints.txt; the stamp makes a second call quick.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "equipoise needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
