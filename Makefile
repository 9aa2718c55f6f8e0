# Needs Python 3.11 or newer, make and git; everything else is installed into .venv in this folder.
# PYTHON=… names the interpreter, WORKERS=… the number of processes for unit tests, OUT=… the demo's folder.

ROOMS   := blocks tasks flows deployments cli
PIP     := .venv/bin/python -m pip --disable-pip-version-check --no-input
WORKERS ?= 4
CHAOS_ROUNDS ?= 100
HISTORIES ?= 200

# Hundreds of processes import the package, and every process that runs tests imports them: where Python may not keep
# what it compiled, each compiles all of it again, which is most of a second of its start.
unexport PYTHONDONTWRITEBYTECODE

# A shim can be on PATH and still not run, and Debian's python3 can lack venv: only trying tells.
TRY_PYTHON := import ensurepip, sys, venv; sys.exit(sys.version_info[:2] < (3, 11))

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast unit e2e simulate mutants corpus lint types contracts test-js chromium chaos chaos-workers distributed bench bench-short docs wheel clean

help: ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(firstword $(MAKEFILE_LIST)) | while IFS="$$(printf '\t')" read -r name what; do printf '  make %-13s %s\n' "$$name" "$$what"; done

setup: .venv/.ready ## Make .venv and install the package, its tools and its pinned dependencies

.venv/.ready: pyproject.toml constraints.txt
	@set -eu; found=; \
	for name in $(or $(PYTHON),python3.13 python3.12 python3.11 python3.14 python3 python); do \
	  if "$$name" -c '$(TRY_PYTHON)' 2>/dev/null; then found=$$name; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "No working Python 3.11 or newer with venv was found; name one with PYTHON=/path/to/python." >&2; exit 1; \
	fi; \
	echo "Setting up .venv with $$("$$found" --version); this takes a minute or two, once."; \
	rm -f $@; \
	if [ -n "$(PYTHON)" ] || ! .venv/bin/python -m pip --version >/dev/null 2>&1; then "$$found" -m venv --clear .venv; fi
	@$(PIP) install -qq -c constraints.txt pip
	@$(PIP) install -qq --no-compile -c constraints.txt -e '.[postgres]' --group dev
	@# On every core, where pip would compile on one; some packages bring files that are templates of Python.
	@.venv/bin/python -m compileall -qq -j 0 .venv/lib || true
	@.venv/bin/python -m compileall -q core $(ROOMS)
	@touch $@

demo: setup ## Both endpoints end to end on the embedded fal: no key, no network, nothing spent
	@.venv/bin/prefect-ltx demo $(if $(OUT),--out '$(OUT)')

# What only reads the sources is done two at a time; tests that run programs have the machine to themselves.
test: setup ## Everything CI asks for: lint, types, import contract, simulation, unit and end-to-end tests
	@$(MAKE) --no-print-directory -j2 --output-sync=target lint types contracts simulate AT_MOST=45
	@$(MAKE) --no-print-directory unit
	@$(MAKE) --no-print-directory e2e

test-fast: unit ## Unit tests only

unit: setup
	.venv/bin/pytest -n $(WORKERS) --dist worksteal -m 'not e2e and not chaos and not distributed and not wheel and not js'

# Each process starts a Prefect server of its own. What a file's tests share, one more server or a browser, starts
# once; files go by name, because those with few tests are the long ones.
e2e: setup
	.venv/bin/pytest -n 3 --dist loadfile --no-loadscope-reorder -m 'e2e and not chaos and not distributed and not wheel and not js'

corpus: setup ## About sixty awkward clips through every output and film (CI takes one of each kind)
	CORPUS=full .venv/bin/pytest -n 2 --dist worksteal tests/corpus

simulate: setup ## Histories of a hostile world (docs/simulation.md); HISTORIES=200, AT_MOST=seconds, SEED=n replays one
	@.venv/bin/python tests/simulation/simulate.py $(if $(SEED),--seed $(SEED),--histories $(HISTORIES) --jobs 2 $(if $(AT_MOST),--seconds $(AT_MOST)))

mutants: setup ## Real faults put back one by one: the simulation has to catch each of them
	@.venv/bin/python tests/simulation/mutants.py --jobs 2

lint: setup ## Ruff: rules and format
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

# The rooms become one package by a mapping that neither mypy nor import-linter can follow; links can be followed.
.PHONY: .types
.types:
	@rm -rf .types && mkdir -p .types/prefect_ltx
	@for part in core/*; do [ "$$part" = core/__pycache__ ] || ln -s "$(CURDIR)/$$part" .types/prefect_ltx/; done
	@for room in $(ROOMS); do ln -s "$(CURDIR)/$$room" .types/prefect_ltx/; done

types: setup .types ## Mypy, strict
	MYPYPATH=.types .venv/bin/mypy --config-file pyproject.toml -p prefect_ltx

contracts: setup .types ## Import contract: which room may import which
	PYTHONPATH=.types .venv/bin/lint-imports

test-js: setup ## The official JavaScript client against the embedded fal (needs npm)
	@mkdir -p .js && cp tests/local/js/package.json .js/
	npm install --prefix .js --no-package-lock --no-audit --no-fund --loglevel=error
	.venv/bin/pytest tests/local -m js

# Screenshots of the tests are in build/screenshots.
chromium: ## Install Chromium for the tests in a browser, where apt-get works; without it they are skipped
	@if command -v chromium chromium-browser google-chrome >/dev/null; then echo "A Chromium is installed."; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends chromium >/dev/null; then \
	  echo "Installed Chromium."; \
	else echo "No Chromium, and apt-get cannot install one here: the tests in a browser will be skipped."; fi

chaos: setup ## Kills and races in their long form: CHAOS_ROUNDS (100) random instants, 50 races, 400 reservations, 5,000 idlers
	CHAOS_ROUNDS=$(CHAOS_ROUNDS) .venv/bin/pytest tests/chaos tests/generation/test_two_workers.py tests/ledger/test_ledger_world.py \
	  tests/receiver/test_webhook_idlers.py

chaos-workers: setup ## Two workers killed at random for five minutes under a batch of 100
	CHAOS_SECONDS=300 .venv/bin/pytest -s tests/chaos/test_kill_workers.py

distributed: setup ## Two workers without a shared disk: Prefect's server and ledger in PostgreSQL, archive and results on S3
	.venv/bin/pytest tests/deployments/test_distributed.py

bench: setup ## Benchmarks; prints what it measured
	@missed=; for script in benchmarks/bench_*.py; do \
	  .venv/bin/python "$$script" || missed="$$missed $$script"; \
	done; \
	if [ -n "$$missed" ]; then echo "Bars were missed in:$$missed" >&2; exit 1; fi

bench-short: setup ## Benchmarks in a small form: that they run and print, no bar in seconds
	@for script in benchmarks/bench_*.py; do .venv/bin/python "$$script" --short || exit 1; done

docs: setup .types ## Build the documentation site into build/site
	@$(PIP) install -qq -c constraints.txt --group docs
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict --quiet

wheel: setup ## Build wheel and sdist and try the wheel in an empty environment
	.venv/bin/pytest tests/test_package.py -m wheel

clean: ## Remove what the targets above made
	rm -rf .venv .js .types .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist *.egg-info
	find core $(ROOMS) benchmarks tests -name __pycache__ -prune -exec rm -rf {} +
