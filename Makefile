# Everything a developer runs. Needs Python 3.11 or newer and nothing else; uses uv where it is installed.
# Paths are relative throughout, so that a clone in a folder with spaces in its name works.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# `make test PYTHON=/path/to/python3.12` chooses another interpreter.
PYTHON :=
PYTHONS := python3.14 python3.13 python3.12 python3.11 python3 python
BIN := .venv/bin
FITS := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

# Creates .venv unless a working one is there, then installs this folder with the extras in $(1).
# A found `python3.13` may be a shim that does not run, so each candidate is tried, not only looked up.
define install
	@if command -v uv >/dev/null 2>&1; then uv=yes; else uv=; fi; \
	if ! { $(BIN)/python -c 'import sys' && { [ "$$uv" ] || $(BIN)/python -m pip --version; }; } >/dev/null 2>&1; then \
		rm -rf .venv; \
		if [ "$$uv" ]; then \
			uv venv --quiet --python "$(or $(PYTHON),>=3.11)" .venv || exit 1; \
		else \
			for python in $(if $(PYTHON),"$(PYTHON)",$(PYTHONS)); do \
				if "$$python" -c '$(FITS)' >/dev/null 2>&1; then found=$$python; break; fi; \
			done; \
			if [ -z "$$found" ]; then \
				echo "make: no Python 3.11 or newer with venv was found; install one (on Debian and Ubuntu also" \
					"python3-venv), or name it: make PYTHON=/path/to/python3.12" >&2; \
				exit 1; \
			fi; \
			"$$found" -m venv .venv || exit 1; \
		fi; \
	fi; \
	echo "Installing into .venv with $$($(BIN)/python --version); the first time takes a minute …"; \
	if [ "$$uv" ]; then uv pip install --quiet --python $(BIN)/python --editable '.[$(1)]'; \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(1)]'; fi
endef

.PHONY: help run test check fmt audit bench chaos docs docs-serve clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

run: .venv/.run ## Set up, then run the demo: this repository's history through the whole runtime
	@$(BIN)/eventstore-runtime demo

test: check ## The whole check: format, lint, types, import contract, tests
	@echo "── tests"
	@$(BIN)/python -m pytest -q

check: .venv/.dev ## All but the tests
	@echo "── format"
	@$(BIN)/ruff format --check .
	@echo "── lint"
	@$(BIN)/ruff check .
	@echo "── types"
	@MYPYPATH=.venv/typing $(BIN)/python -m mypy -p eventstore
	@echo "── import contract"
	@$(BIN)/lint-imports

fmt: .venv/.dev ## Format the code and mend what the linter can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

audit: .venv/.dev ## Look up known vulnerabilities of every installed package
	$(call install,audit)
	@$(BIN)/python -m pip_audit --skip-editable

bench: .venv/.dev ## Measure events per second, latency and cost; ARGS="--quick --plot bench.png" adds options
	@$(BIN)/python -m eventstore.bench $(ARGS)

chaos: .venv/.dev ## Random faults on two nodes for MINUTES (10), with SEED; every promise is checked at the end
	@$(BIN)/python -m eventstore.tests.faults.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

# Silences an advertisement that mkdocs-material prints with every build. --quiet would silence --strict as well: mkdocs
# counts only the warnings that it shows.
docs docs-serve: export NO_MKDOCS_2_WARNING := 1

docs: .venv/.dev ## Build the documentation site into build/site; a broken link or reference is an error
	@$(BIN)/python -m mkdocs build --strict
	@echo "build/site holds the site; make docs-serve shows it"

docs-serve: .venv/.dev ## Show the documentation site on http://127.0.0.1:8000, built anew with every change
	@$(BIN)/python -m mkdocs serve --strict

clean: ## Remove .venv, caches and builds; event data in .eventstore stays
	@rm -rf .venv build dist ./*.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps: an install happens again only when pyproject.toml has changed since.
.venv/.run: pyproject.toml
	$(call install,embedded)
	@touch $@

.venv/.dev: pyproject.toml
	$(call install,dev)
	@mkdir -p .venv/typing
	@ln -sfn ../.. .venv/typing/eventstore
	@mkdir -p .venv/docs/eventstore
	@for part in __init__.py store handlers runtime; do ln -sfn ../../../$$part .venv/docs/eventstore/$$part; done
	@touch .venv/.run $@
