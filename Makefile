# Two commands matter: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/bash
.DELETE_ON_ERROR:
.PHONY: help demo test lint bench chaos fuzz wheel lock clean system

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Two more than there are cores: whole systems wait more than they work.
TEST_WORKERS ?= $(shell n=$$(nproc); echo $$(( n > 3 ? 5 : n + 2 )))

# In a fresh clone: each worker by itself would compile all tests, at the same time as the others.
COMPILE_TESTS := find tests -name 'test_*.py' | \
	PYTHONDONTWRITEBYTECODE= xargs -P 2 -n 300 $(BIN)/pytest --collect-only > /dev/null || true

help:  ## what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

$(STAMP): pyproject.toml requirements.lock hatch_build.py cloud/web/bundle.py cloud/web/package-lock.json
	@echo "== setting up $(VENV) (about a minute the first time)"
	@.ci/make-venv $(PYTHON) $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(STAMP)  ## run the whole system on an embedded database and broker; Ctrl-C ends it
	@$(BIN)/gatemeter demo $(DEMO_ARGS)

system:  ## install what the tests drive beside Python: a browser, a broker, fonts
	@.ci/system-packages

# Whole systems and what computes side by side, in the order of the folders (tests/schedule.py): what ends the run is
# short. Python keeps what it compiled, whatever the environment says: the tests start hundreds of processes.
test: $(STAMP) system  ## everything that must hold
	@[ -d tests/__pycache__ ] || $(COMPILE_TESTS)
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

lint: $(STAMP)  ## style, types and the dependency rules of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP) system  ## speed, as ratios within one run
	$(BIN)/python -m tests.benchmarks

chaos: $(STAMP) system  ## the long form of the kill and cut tests, and of what people do on pages
	GATEMETER_CHAOS_ROUNDS=$${GATEMETER_CHAOS_ROUNDS:-30} $(BIN)/pytest tests/acceptance/test_every_reading_exactly_once.py tests/chaos
	GATEMETER_BROWSER=every $(BIN)/pytest tests/browser

fuzz: $(STAMP)  ## the long form of the property tests, then every parser under a coverage-guided fuzzer
	HYPOTHESIS_PROFILE=long $(BIN)/pytest tests/unit tests/fuzz tests/integration/billing/test_late_data.py \
		tests/integration/billing/test_histories_of_homes.py
	$(BIN)/python -m tests.fuzz --seconds $${GATEMETER_FUZZ_SECONDS:-60}

wheel: $(STAMP)  ## build the wheel, web assets included
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

lock: $(STAMP)  ## pin the versions that are installed now
	@.ci/lock $(BIN)/python > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## forget the environment and the demo
	rm -rf $(VENV) .gatemeter dist build
