# Two commands for a newcomer: make demo, make test. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
WEB := service/web
PAGE := $(WEB)/dist/index.html
WEB_SOURCES := $(shell find $(WEB)/src $(WEB)/public -type f 2>/dev/null) $(WEB)/index.html $(WEB)/package-lock.json

# Dozens of processes start here: what one has compiled, the next one need not.
unexport PYTHONDONTWRITEBYTECODE

# The page's build takes the machine's Node where it is new enough, else one from PyPI.
NODE_OK := $(shell node -e 'process.exit(+process.versions.node.split(".")[0] >= 20 ? 0 : 1)' 2>/dev/null && npm --version >/dev/null 2>&1 && echo yes)
NODE_PATH_PREFIX := $(if $(NODE_OK),,$(abspath $(BIN)):)

.DEFAULT_GOAL := help
.PHONY: help install page demo serve test test-long lint types imports unit docs notebooks clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

install: $(INSTALLED) ## make the virtual environment and install

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "wholeslide needs Python 3.11 or newer; say which with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@# What is never imported need not be compiled.
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev$(if $(NODE_OK),,$(comma)node)]'
	@touch $@
comma := ,

page: $(PAGE) ## build the review page

$(PAGE): $(WEB_SOURCES) | $(INSTALLED)
	cd $(WEB) && export PATH="$(NODE_PATH_PREFIX)$$PATH" && npm ci --no-audit --no-fund && npm run build
	@touch $@

demo: $(INSTALLED) $(PAGE) ## train, score a slide through the API, serve the page (SLIDE=path MPP=0.5 ONCE=1)
	@$(BIN)/wsi demo $(if $(SLIDE),--slide '$(SLIDE)') $(if $(MPP),--mpp $(MPP)) $(if $(ONCE),--once)

serve: $(INSTALLED) $(PAGE) ## run API, page and worker on your own data
	@$(BIN)/wsi serve

test: $(INSTALLED) ## lint, types, import rules, docs and all tests
	@$(MAKE) --no-print-directory -j 2 --output-sync=target lint types imports docs page
	@$(MAKE) --no-print-directory unit

lint: $(INSTALLED) $(PAGE)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	cd $(WEB) && export PATH="$(NODE_PATH_PREFIX)$$PATH" && npm run check

types: $(INSTALLED)
	$(BIN)/mypy

imports: $(INSTALLED)
	$(BIN)/lint-imports

# Three for two cores: who waits for a process leaves the core to another. tests/conftest.py puts
# the slowest files first.
SPREAD := -n 3 --dist loadfile --no-loadscope-reorder --max-worker-restart=0

unit: $(INSTALLED) $(PAGE)
	$(BIN)/coverage erase
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SPREAD) --cov --cov-report=
	@$(BIN)/coverage combine --quiet --append 2>/dev/null || true
	$(BIN)/coverage report
	$(BIN)/python tests/check_coverage.py

test-long: $(INSTALLED) $(PAGE) ## the long forms of tests: random kills, mutated files, notebooks (an hour)
	OMP_NUM_THREADS=1 WSI_FUZZ_EXAMPLES=25 $(BIN)/python -m pytest $(SPREAD) -m long
	OMP_NUM_THREADS=1 WSI_FUZZ_EXAMPLES=25 $(BIN)/python -m pytest -q tests/integration/test_api_fuzz.py

docs: $(INSTALLED) ## build the documentation site into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: $(INSTALLED) ## execute the notebooks
	$(BIN)/python -m pytest -q tests/notebooks

clean: ## remove what was built; keeps the virtual environment and your data
	rm -rf $(WEB)/dist $(WEB)/node_modules .mypy_cache .ruff_cache .pytest_cache artifacts site
