# Each target does all its own set-up in .venv; PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
export HF_HUB_OFFLINE = 1

.PHONY: serve test lint check train image-steps clean

serve: .venv/.serve
	$(BIN)/diplophrase serve

test: .venv/.dev
	$(BIN)/pytest -n 2 --dist loadfile

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/diplophrase labels check

check: lint test

image-steps:
	PYTHON=$(PYTHON) tests/e2e/build_image_steps.sh

train: .venv/.dev
	$(BIN)/diplophrase train

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/.serve: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q -e '.[serve]'
	touch $@

# torch first and pinned, so that nothing else draws in a build for graphics cards
.venv/.dev: .venv/bin/python pyproject.toml
	$(BIN)/pip install -q torch==2.13.0
	$(BIN)/pip install -q -e '.[dev]'
	touch $@ .venv/.serve

clean:
	rm -rf .venv build *.egg-info
