# Each target does its own set-up in .venv, once: a stamp is older than what it was made from, or it is not made again.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --compile-bytecode --constraint requirements.lock
FUZZ ?= study npz csv parquet picture h5
FUZZ_S ?= 600
DATA ?= $(or $(MLP_SEARCH_DATA),../shared/data)

unexport PYTHONDONTWRITEBYTECODE  # images set it, and then every command compiles this project again

.PHONY: run test check chaos fuzz compose-test bench lock clean

run: .venv/run.stamp  ## search the digits of scikit-learn, then show what was found
	$(BIN)/mlp-search run digits --trials 24

test: .venv/test.stamp check  ## everything that CI runs
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/pytest --numprocesses 2 --dist worksteal

check: .venv/test.stamp  ## lint, format, types, layers, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy fuzz/targets.py
	$(BIN)/lint-imports
	$(BIN)/python scripts/audit.py

fuzz: .venv/test.stamp  ## ten minutes of fuzzing each parser of files; FUZZ names parsers, FUZZ_S seconds
	$(UV) --editable ".[fuzz]"
	for target in $(FUZZ); do $(BIN)/python fuzz/targets.py $$target -max_total_time=$(FUZZ_S) || exit 1; done

compose-test: .venv/test.stamp  ## builds the image, brings the containers up and drives them; needs Docker
	$(BIN)/pytest tests/compose -m compose

chaos: .venv/test.stamp  ## kill -9 and outages, for about an hour
	$(BIN)/pytest -m chaos tests/chaos tests/faults tests/search/test_cluster.py

bench: .venv/test.stamp  ## the benchmarks beside the peers; about an hour
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/python benchmarks/panel.py
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/python benchmarks/race.py
	$(BIN)/python benchmarks/overhead.py

lock: .venv/uv.stamp  ## pin the newest versions that fit together
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

.venv/uv.stamp:
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet "uv>=0.9"
	touch $@

.venv/run.stamp: .venv/uv.stamp pyproject.toml requirements.lock
	$(UV) --editable .
	touch $@

.venv/test.stamp: .venv/run.stamp
	$(BIN)/python -m pip install --quiet --no-compile --constraint requirements.lock --editable ".[gp]"  # pip finds local CPU builds
	$(UV) --editable ".[bench,dev,ray,server]"
	touch $@
