# What people do here. The first target of the day makes .venv and installs into it; later ones start at once.
#
#   make demo                  the story of the README, live       make demo ARGS="--json"
#   make test                  the fast tests                      make test ARGS="tests/core -x"
#   make check                 style, types, layers, manifests
#   make fuzz                  three million hostile payloads, minutes
#   make bench                 measures this machine               make bench ARGS="--json"
#
# PYTHON=python3.12 picks another interpreter, VENV=.venv312 another place.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=
export VENV

.PHONY: demo test check fuzz bench
.DELETE_ON_ERROR:

demo: $(VENV)/.installed-demo
	@$(VENV)/bin/splitinfer demo $(ARGS)

bench: $(VENV)/.installed-demo
	@$(VENV)/bin/splitinfer bench main $(ARGS)

test: $(VENV)/.installed-dev
	@scripts/test $(ARGS)

check: $(VENV)/.installed-dev
	@scripts/check

fuzz: $(VENV)/.installed-dev
	@scripts/test -m slow tests/fuzz $(ARGS)

# The stamp is newer than what it was installed from. What pip says goes to stderr: stdout belongs to ARGS="--json".
$(VENV)/.installed-%: pyproject.toml constraints.txt
	@echo "installing .[$*] into $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) >&2
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]' >&2
	@touch $@
