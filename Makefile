# Each target is enough by itself on a fresh machine: it makes .venv first where that is missing or out of date.

BIN := .venv/bin
STAMP := .venv/installed
unexport PYTHONPATH PYTHONHOME

# PYTHON=... chooses the interpreter; otherwise python3 if it fits, else the newest of the versions that do.
ifeq ($(origin PYTHON), undefined)
CANDIDATES := python3 python3.13 python3.12 python3.11
else
CANDIDATES := $(PYTHON)
endif

.DEFAULT_GOAL := help
.PHONY: help demo real natural test test-ci test-all test-browser check bench format clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | while IFS='	' read -r name text; do \
		printf '%-14s %s\n' "make $$name" "$$text"; done

$(STAMP): pyproject.toml constraints.txt
	@for candidate in $(CANDIDATES); do \
		if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; \
		then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
		echo "error: FedThorax needs Python 3.11, 3.12 or 3.13, but none of these is one: $(CANDIDATES)" >&2; \
		echo "       install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
		exit 1; \
	fi; \
	if ! $(BIN)/python -c '' 2>/dev/null; then "$$found" -m venv --clear .venv || exit 1; fi; \
	echo "installing into .venv with $$($(BIN)/python --version); the first time takes some minutes"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(STAMP) ## Draw three hospitals, train them together, write runs/demo/report.html.
	@$(BIN)/fedthorax phantom data/demo --if-needed
	@$(BIN)/fedthorax simulate configs/demo.yaml --overwrite

# Where the real images and the pretrained weights lie; `make real` only reads there.
REAL := $(or $(FEDTHORAX_REAL_DATA),../shared/data)

real: $(STAMP) ## Deal real X-rays and CT out to three hospitals in data/real, for configs/real.yaml.
	@$(BIN)/fedthorax partition data/real --xray $(REAL)/nih-224 --ct $(REAL)/ct-kaggle/train \
		--hospitals north,south,east --holdout-valid 0.1 --holdout-test 0.2 \
		--ct-valid $(REAL)/ct-kaggle/valid --ct-test $(REAL)/ct-kaggle/test --link symlink --seed 1
	@cp $(REAL)/weights/efficientnetb0_notop.h5 data/real/

natural: $(STAMP) ## Deal five real collections out to seven unlike hospitals in data/natural.
	@$(BIN)/python benchmarks/natural.py data/natural --real $(REAL)
	@cp $(REAL)/weights/efficientnetb0_notop.h5 data/natural/

test: $(STAMP) ## Run the tests of units, on up to four cores.
	@$(BIN)/python -m pytest -q -n logical --maxprocesses 4 --dist loadfile

test-ci: $(STAMP) ## Run the tests of whole runs and consortia, and the longer ones.
	@$(BIN)/python -m pytest -q -m 'ci and not slow'

test-all: $(STAMP) ## Run all tests: real processes, real networks, real data where it is.
	@$(BIN)/python -m pytest -q -m ''

test-browser: $(STAMP) ## Open the pages in Debian's chromium; fail where there is none.
	@FEDTHORAX_BROWSER=required $(BIN)/python -m pytest -q -m '' tests/common/report/test_browser.py \
		tests/common/release/test_trial.py

check: $(STAMP) ## Check format, lint, types and who imports whom.
	@$(BIN)/ruff format --check --quiet . || { echo "error: run make format" >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/python -m pytest -q tests/test_import_rules.py

bench: $(STAMP) ## Measure against peers.
	@$(BIN)/python benchmarks/run.py

format: $(STAMP) ## Format the code and repair what the linter can.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what was built or drawn; runs/ and your own data stay.
	rm -rf .venv .cache .mypy_cache .pytest_cache .ruff_cache build dist data/demo
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
