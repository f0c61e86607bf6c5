# Two commands do everything: `make demo` and `make test`. Both install into .venv first.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed
unexport PYTHONDONTWRITEBYTECODE  # what is loaded is compiled once, not by every process that the tests begin

.PHONY: demo docs test test-browser fast check format bench gpu torture install clean

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)   ## train one tiny model on six tasks, at most five minutes, then open runs/demo/report.html
	$(BIN)/ofasys demo
	@echo "open runs/demo/report.html in a browser; the documentation: make docs"

docs: $(STAMP)   ## these pages as a site, with the reference, and rows and answers of what was fetched and trained here
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "open site/index.html in a browser"

test: $(STAMP)   ## the whole suite, under ten minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-browser: $(STAMP)  ## the page of `ofasys serve` in chromium, which has to be installed; axe-core is fetched by npm
	npm install --silent --no-save --prefix .venv/axe axe-core@4.14.1
	OFASYS_BROWSER=1 OFASYS_AXE=.venv/axe/node_modules/axe-core/axe.min.js $(BIN)/python -m pytest -n 0 -rs tests/browser

fast: $(STAMP)   ## the quick part, under a minute
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

check: $(STAMP)  ## format, lint, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(STAMP)  ## side by side with the peers; takes a while, wants a quiet machine
	$(BIN)/python -m benchmarks

gpu: $(STAMP)    ## what a GPU computes against what a CPU does, then its speed and memory; on a machine with one
	$(BIN)/python -m pytest -n 0 -rs tests/gpu
	$(BIN)/python -m benchmarks.gpu

torture: $(STAMP)  ## all demo tasks, killed at 20 random moments, in 1 and 2 processes, without and with data workers: the same weights to the bit
	$(BIN)/python -m tests.laws.torture
	OFASYS_TORTURE=1 $(BIN)/python -m pytest -n 0 tests/parallel/test_machines.py tests/parallel/test_hosts.py

clean:
	rm -rf .venv runs site
