# Each target sets up all it needs in $(VENV): through uv when that is there, else venv and pip.

PYTHON ?=
SQLALCHEMY ?= 2.1
VENV ?= .venv
EXAMPLE ?= git_history
REPO ?= .
PORT ?= 8000
N ?= 10000
SEED ?= 1
DATABASE ?= all
ARGS ?=

BIN := $(VENV)/bin
DEMO_git_history = "$(REPO)"
# Named after the choices made, so that another choice makes another environment.
STAMP := $(VENV)/.made-with-python-$(subst /,_,$(PYTHON))-sqlalchemy-$(SQLALCHEMY)

.PHONY: help demo test check bench soak clean

help: ## list the targets (default)
	@sed -n 's/^\([a-z]*\):.* ## \(.*\)/make \1\t\2/p' Makefile | expand -t 13
	@echo
	@echo "PYTHON=python3.12    the interpreter to use (default: one that is on the PATH)"
	@echo "SQLALCHEMY=2.0       the SQLAlchemy line to use (default: 2.1)"
	@echo "VENV=folder          where the environment goes (default: .venv)"
	@echo "EXAMPLE=shop         what make demo shows: git_history (default), or a shop"
	@echo "REPO=folder          the git repository that make demo replays (default: this one)"
	@echo "PORT=8001            where make demo serves the pages (default: 8000)"
	@echo "N=100000             how many transactions make soak does on each database (default: 10000)"
	@echo "SEED=1               where make soak starts"
	@echo "DATABASE=sqlite      where make soak and make bench run (default: all)"
	@echo "ARGS=--help          what else make bench is told, such as ARGS='--load flush --rounds 3'"
	@echo "MONGODB_URI=uri      the MongoDB that make demo uses (default: it starts its own)"

demo: $(STAMP) ## replay a git repository (or open a shop), check the log, serve the pages
	@$(BIN)/python -m examples.$(EXAMPLE) demo $(DEMO_$(EXAMPLE)) --port "$(PORT)"

test: $(STAMP) ## run the tests and report branch coverage
	$(BIN)/python -m pytest -n 2 --cov

check: $(STAMP) ## check style, types and layers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)-bench ## measure what hooks and the log cost, beside other audit logs
	@$(BIN)/python -m tests.bench --database $(DATABASE) $(ARGS)

soak: $(STAMP) ## run the random workload for long: its log has to be its tables
	@$(BIN)/python -m tests.workload --transactions $(N) --seed $(SEED) --database $(DATABASE)

clean: ## remove the environment, the databases of make demo and what the tools left behind
	@$(REMOVE_VENV)
	rm -rf .demo build dist .coverage .coverage.* .hypothesis .import_linter_cache
	rm -rf .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@echo "Setting up $(VENV)"
	@$(REMOVE_VENV)
	@$(MAKE_VENV)
	@sed 's/^sqlalchemy==2\.1.*/sqlalchemy==$(SQLALCHEMY_$(SQLALCHEMY))/' constraints.txt \
	    > $(VENV)/constraints.txt
	@$(INSTALL) -c $(VENV)/constraints.txt -e '.[all,dev]'
	@touch $@

$(STAMP)-bench: $(STAMP)
	@$(INSTALL) -c $(VENV)/constraints.txt -e '.[bench]'
	@touch $@

# constraints.txt pins the newest line of SQLAlchemy; here is the pin of each.
SQLALCHEMY_2.0 := 2.0.58
SQLALCHEMY_2.1 := 2.1.9
ifndef SQLALCHEMY_$(SQLALCHEMY)
$(error SQLALCHEMY=$(SQLALCHEMY) is no line this project is tested with; give 2.0 or 2.1)
endif

# VENV may name any folder: only an environment is ever removed.
REMOVE_VENV = if [ -f $(VENV)/pyvenv.cfg ]; then rm -rf $(VENV); fi

ifneq ($(shell command -v uv),)
MAKE_VENV = uv venv --quiet --python '$(or $(PYTHON),>=3.11)' $(VENV)
INSTALL = uv pip install --quiet --python $(BIN)/python
else
CANDIDATES = $(or $(PYTHON),python3.13 python3.12 python3.11 python3)
# Trying them skips a shim that runs nothing, and a Python whose venv is packaged apart.
TRY = import ensurepip, sys, venv; sys.version_info >= (3, 11) and print(sys.executable)
MAKE_VENV = \
    python=$$(for name in $(CANDIDATES); do "$$name" -c '$(TRY)' 2>/dev/null; done | head -n 1); \
    if [ -z "$$python" ]; then \
        echo "No Python >= 3.11 with its venv module under these names: $(CANDIDATES)." >&2; \
        echo "Install one, or name one that you have: make PYTHON=path" >&2; \
        exit 1; \
    fi; \
    "$$python" -m venv $(VENV)
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
endif
