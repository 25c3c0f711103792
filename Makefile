# Every task a person runs, and the only place where commands are written down.
# `make help` lists them.

PYTHON ?= python3
BUILD := build
VENV := $(BUILD)/venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
SPHINX := $(PY) -m sphinx -q -n -W --keep-going -c conf -d $(BUILD)/doctrees book
LAB := $(PY) -m lab
NEXT := $(shell git log -1 --format=%ct 2>/dev/null)

# Dates in the book come from the last commit, so that two builds of it give the same bytes.
export SOURCE_DATE_EPOCH ?= $(or $(NEXT),0)
export PYTHONPATH := tests

.PHONY: all html pdf test lint bench try record controlplane check-recordings clean help

all: html pdf ## Build the book: HTML and PDF
	@echo "HTML: $(BUILD)/html/index.html"
	@echo "PDF:  $(BUILD)/istio-operations-guide.pdf"

html: $(READY) ## Build the HTML edition
	@$(SPHINX) -b html $(BUILD)/html

pdf: $(READY) ## Build the PDF edition
	@$(SPHINX) -b typst $(BUILD)/typst
	@cp $(BUILD)/typst/istio-operations-guide.pdf $(BUILD)/

help: ## List these tasks
	@sed -nE 's/^([a-z-]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 20

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=")'
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
	| $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
	@touch $@
