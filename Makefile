# `make` alone lists what there is. Everything happens in .venv, made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out

.DEFAULT_GOAL := help
.PHONY: help env demo test lint bench faults mutations fuzz soak man clean

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/pseudomask: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "pseudomask needs Python 3.11 or newer; set PYTHON=python3.12, say"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pseudomask with torch and torchvision into $(VENV) (a minute or two, about 5 GB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

env: $(BIN)/pseudomask ## Make the environment only

demo: $(BIN)/pseudomask ## Masks for the photos in examples/photos, with the weights in weights/
	@$(BIN)/pseudomask extract --method recam examples/photos $(OUT) --labels examples/photos.csv --overlay --overwrite
	@echo "masks are in $(OUT)/, photos with masks on top in $(OUT)/overlays/"

test: $(BIN)/pseudomask lint ## Linter, types, tests with coverage
	@$(BIN)/python -m pytest -n 2 --cov --cov-report=term:skip-covered --cov-fail-under=90

lint: $(BIN)/pseudomask
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

DEVICE ?= cpu
bench: $(BIN)/pseudomask ## Benchmarks that need no data, as one page in bench-out; DEVICE=cuda for a GPU
	@$(BIN)/python -m benchmarks.everything --device $(DEVICE)

faults: $(BIN)/pseudomask ## The long fault tests: 50 kills a verb, 100,000 photos, 10,000 damaged files a kind
	@$(BIN)/python -m pytest tests/faults -m long

mutations: $(BIN)/pseudomask ## Each fault test without its protection, passing where the test fails; LONG=1: the long ones
	@PYTHONPATH=tests $(BIN)/python -m pytest -p fault_harness.mutations $(if $(LONG),-m long,) tests/faults \
		tests/data/test_labels_tables.py tests/extracting/test_extract_photos.py tests/refining/test_refine_runs.py \
		tests/measuring/test_confusion.py tests/parity/test_iou_oracle.py

fuzz: $(BIN)/pseudomask ## Damaged files for MINUTES (10); what they find is left in FOUND (fuzz-found)
	@PYTHONPATH=tests $(BIN)/python -m fault_harness.fuzz $(or $(FOUND),fuzz-found) --seconds $$(( 60 * $(or $(MINUTES),10) )) --seed $$(date +%s)

soak: $(BIN)/pseudomask ## Disturbed runs over drawn photos for MINUTES (60); memory and failures
	@$(BIN)/python -m benchmarks.soak --minutes $(or $(MINUTES),60)

man: $(BIN)/pseudomask ## The manual page, for `man ./pseudomask.1`
	@$(BIN)/python -m pseudomask.cli.manual > pseudomask.1

clean: ## Remove the environment and what demo made
	rm -rf $(VENV) $(OUT) pseudomask.1
