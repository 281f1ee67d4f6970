# Needs make and a Python 3 to start with; uv, environments and packages are fetched into this directory.
#   make sweep PYTHON_VERSION=3.12      takes that Python (uv finds or fetches it); `make clean` first

PYTHON ?= python3
PYTHON_VERSION ?= >=3.10,<3.14
# How `make lock` treats what is locked: UPGRADE=--upgrade, or UPGRADE='--upgrade-package mlflow'.
UPGRADE ?=

VENV := .venv
NEXT := .venv-hydra-next
HYDRA_NEXT := hydra-core==1.4.0rc3
MLFLOW_2 := .venv-mlflow-2

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# The package itself goes in without its dependencies: those are the lock's.
UV := "$$($(PYTHON) hydra_gce/agent/get_uv.py --into .uv)"
PACKAGE := --no-deps --editable .
LOCK := $(UV) pip compile --quiet --universal --python-version 3.10 --annotation-style line \
	--custom-compile-command 'make lock' $(UPGRADE)

# An activated environment or a PYTHONPATH of the caller's would be mixed into ours.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONPATH PYTHONHOME

# The VMs of the embedded Compute Engine read this environment and cannot write to it: without bytecode each of them
# would compile TensorFlow anew.
export UV_COMPILE_BYTECODE := 1

# A company's own certificate authority is in the system's store, not in the one that uv brings along.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt /etc/pki/tls/certs/ca-bundle.crt /etc/ssl/cert.pem),)
UV_SYSTEM_CERTS ?= true
export UV_SYSTEM_CERTS
endif

.PHONY: help sweep test test-slow chaos test-hydra-next test-mlflow-2 lint format bench bench-train docs docs-serve links lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

sweep: $(VENV)/.run-installed ## set up .venv and run the main job: train.py on two learning rates, a VM for each
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" python train.py -m hydra/launcher=gce lr=1e-3,1e-4

# Three even on two cores: many tests wait for a VM or a server most of the time.
WORKERS := $(shell python3 -c "import os; print(min(4, max(3, os.cpu_count() or 1)))")

test: $(VENV)/.dev-installed ## set up .venv and run the tests, less the slow ones
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and not chaos"

test-slow: $(VENV)/.dev-installed ## run the tests that are too long for continuous integration
	$(VENV)/bin/python -m pytest -m slow

chaos: $(VENV)/.dev-installed ## run a sweep of 40 jobs on ten bad days of the embedded Compute Engine
	$(VENV)/bin/python -m pytest -m chaos -v

test-hydra-next: $(NEXT)/.installed ## run Hydra's own launcher suites with the coming Hydra, in an environment of its own
	$(NEXT)/bin/python -m pytest -m "not slow" tests/hydra_suites

test-mlflow-2: $(MLFLOW_2)/.installed ## run the tests of MLflow's records with MLflow 2, in an environment of its own
	$(MLFLOW_2)/bin/python -m pytest -m "not slow and not chaos" tests/tracking

lint: $(VENV)/.dev-installed ## ruff, mypy --strict
	$(VENV)/bin/python -m ruff check
	$(VENV)/bin/python -m ruff format --check
	$(VENV)/bin/python -m mypy

format: $(VENV)/.dev-installed ## let ruff put the code in order
	$(VENV)/bin/python -m ruff check --fix
	$(VENV)/bin/python -m ruff format

bench-train: $(VENV)/.dev-installed ## measure the training loop beside model.fit, its input, checkpoints and MLflow: half an hour
	$(VENV)/bin/python -m bench.training

bench: $(VENV)/.dev-installed ## measure, and write the tables of docs/benchmarks.md
	$(VENV)/bin/python -m bench.import_time
	$(VENV)/bin/python -m bench.noop_sweep
	$(VENV)/bin/python -m bench.simulated_sweep
	$(VENV)/bin/python -m bench.tracking
	$(VENV)/bin/python -m bench.server_down
	$(VENV)/bin/python -m bench.live_points
	$(VENV)/bin/python -m bench.commands

docs: $(VENV)/.dev-installed ## build the site of docs/ in build/site; every link must lead somewhere, here and on GitHub
	$(VENV)/bin/python scripts/check_docs.py
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict

docs-serve: $(VENV)/.dev-installed ## show the site at http://127.0.0.1:8000, and each page anew as it is written
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs serve

links: ## ask the other hosts that README and docs/ link to whether the pages are there; without a network it says so
	$(PYTHON) -m scripts.check_links

# Every file is resolved once, the largest set first; the others take its versions.
lock: ## resolve the dependencies of setup.cfg into the requirements*.lock files
	$(LOCK) setup.cfg --extra train --extra pets --extra dev --extra bench --output-file requirements-dev.lock
	$(LOCK) setup.cfg --extra train --constraint requirements-dev.lock --output-file requirements.lock
	$(LOCK) setup.cfg --extra train-gpu --constraint requirements-dev.lock --output-file requirements-gpu.lock
	test -e requirements-hydra-next.lock || cp requirements-dev.lock requirements-hydra-next.lock
	echo '$(HYDRA_NEXT)' | $(LOCK) setup.cfg - --extra train --extra pets --extra dev --prerelease if-necessary-or-explicit \
		--output-file requirements-hydra-next.lock
	test -e requirements-mlflow-2.lock || cp requirements-dev.lock requirements-mlflow-2.lock
	printf '%s\n' 'mlflow<3' 'sqlalchemy<2.1' pytest pytest-timeout hypothesis scikit-learn | \
		$(LOCK) setup.cfg - --output-file requirements-mlflow-2.lock

clean: ## remove what make and the tools have made; results of sweeps stay
	rm -rf $(VENV) $(NEXT) $(MLFLOW_2) .uv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/pyvenv.cfg:
	$(UV) venv --quiet --allow-existing --python-preference system --python '$(PYTHON_VERSION)' $(VENV)

$(NEXT)/pyvenv.cfg:
	$(UV) venv --quiet --allow-existing --python-preference system --python '$(PYTHON_VERSION)' $(NEXT)

$(MLFLOW_2)/pyvenv.cfg:
	$(UV) venv --quiet --allow-existing --python-preference system --python '$(PYTHON_VERSION)' $(MLFLOW_2)

# requirements-dev.lock holds all of requirements.lock in the same versions: sweep and test share an environment.
$(VENV)/.run-installed: requirements.lock setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(UV) pip install --python $(VENV)/bin/python --requirements requirements.lock
	$(UV) pip install --python $(VENV)/bin/python --quiet $(PACKAGE)
	@touch $@

$(VENV)/.dev-installed: requirements-dev.lock setup.cfg pyproject.toml | $(VENV)/pyvenv.cfg
	$(UV) pip install --python $(VENV)/bin/python --requirements requirements-dev.lock
	$(UV) pip install --python $(VENV)/bin/python --quiet $(PACKAGE)
	@touch $@ $(VENV)/.run-installed

$(NEXT)/.installed: requirements-hydra-next.lock setup.cfg pyproject.toml | $(NEXT)/pyvenv.cfg
	$(UV) pip install --python $(NEXT)/bin/python --requirements requirements-hydra-next.lock
	$(UV) pip install --python $(NEXT)/bin/python --quiet $(PACKAGE)
	@touch $@

# tests/tracking/test_versions.py makes this one, too.
$(MLFLOW_2)/.installed: requirements-mlflow-2.lock setup.cfg pyproject.toml | $(MLFLOW_2)/pyvenv.cfg
	$(UV) pip install --python $(MLFLOW_2)/bin/python --requirements requirements-mlflow-2.lock
	$(UV) pip install --python $(MLFLOW_2)/bin/python --quiet $(PACKAGE)
	@touch $@
