# `make` lists the targets. Everything runs in .venv, which is created on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out

.DEFAULT_GOAL := help
.PHONY: help env demo test lint bench faults mutations fuzz soak man clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/pseudomask: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pseudomask needs Python 3.11 or newer; for example, set PYTHON=python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pseudomask with torch and torchvision into $(VENV) (a minute or two, about 6 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

env: $(BIN)/pseudomask ## Create the environment only

demo: $(BIN)/pseudomask ## Make masks for examples/photos with the bundled weights
	@$(BIN)/pseudomask extract examples/photos $(OUT) --labels examples/photos.csv --overlay --overwrite
	@echo "masks are in $(OUT)/, photos with masks on top in $(OUT)/overlays/"

test: $(BIN)/pseudomask lint ## Run linter, type checker and tests with coverage
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: $(BIN)/pseudomask
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

DEVICE ?= cpu
bench: $(BIN)/pseudomask ## Run the benchmarks that need no data; page in bench-out; DEVICE=cuda for a GPU
	@$(BIN)/python -m benchmarks.everything --device $(DEVICE)

faults: $(BIN)/pseudomask ## Run the long fault tests: 50 kills per verb, 100,000 photos, 10,000 damaged files per kind
	@$(BIN)/python -m pytest tests/faults -m long

mutations: $(BIN)/pseudomask ## Check that each fault test fails without its protection; LONG=1 for the long ones
	@PYTHONPATH=tests $(BIN)/python -m pytest -p fault_harness.mutations $(if $(LONG),-m long,) tests/faults \
		tests/data/test_labels_tables.py tests/extracting/test_extract_photos.py tests/refining/test_refine_runs.py \
		tests/measuring/test_confusion.py tests/parity/test_iou_oracle.py

fuzz: $(BIN)/pseudomask ## Fuzz with damaged files for MINUTES (10); findings go to FOUND (fuzz-found)
	@PYTHONPATH=tests $(BIN)/python -m fault_harness.fuzz $(or $(FOUND),fuzz-found) --seconds $$(( 60 * $(or $(MINUTES),10) )) --seed $$(date +%s)

soak: $(BIN)/pseudomask ## Run disturbed jobs on synthetic photos for MINUTES (60); reports memory and failures
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60)

man: $(BIN)/pseudomask ## Write the manual page; view with `man ./pseudomask.1`
	@$(BIN)/python -m pseudomask.cli.manual > pseudomask.1

clean: ## Remove the environment and the output of demo
	rm -rf $(VENV) $(OUT) pseudomask.1
