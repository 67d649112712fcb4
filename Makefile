# Two commands do all: `make demo` and `make test`. Each makes the virtual environment when it is missing.

PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.PHONY: demo test pytest test-full rehearsal lint bench docs

demo: $(READY)
	ercache demo data/raw/demo
	dvc repro --quiet
	@echo
	@ercache compare data/models/m2fnet data/models/m2fnet_text data/models/m2fnet_audio data/models/m2fnet_visual \
	  data/models/m2fnet_own data/models/bc_lstm data/models/concat
	@echo "report: $(CURDIR)/data/reports/report.html"

test: $(READY)
	python -m compileall -q app ercache extract fusion tests # hundreds of processes import them
	$(MAKE) --no-print-directory --jobs 2 lint pytest

pytest: $(READY)
	python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not full"

test-full: lint
	python -m pytest

rehearsal: $(READY) # every paper on miniatures, with small checkpoints; also a part of test-full
	python -m pytest -m "full or not full" tests/e2e/test_rehearsal.py

lint: $(READY)
	ruff format --check .
	ruff check .
	mypy
	lint-imports
	ercache pipeline --check

bench: $(READY)
	python -m bench

docs: $(READY)
	python -m pip install --quiet -r requirements-docs.txt
	mkdocs build --strict

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; sys.exit(sys.version_info[:2] != (3, 11) and 'ercache needs Python 3.11: make PYTHON=/path/to/python3.11')"
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	python -m pip install --quiet --upgrade pip
	python -m pip install --quiet -r requirements.txt
	python -m pip install --quiet --no-deps --no-build-isolation --editable .
	python -m extract.encoders.warm_up
	touch $(READY)
