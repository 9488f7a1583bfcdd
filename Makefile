# Each target sets .venv up once: a stamp is made again only where it is older than what it was made from.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --compile-bytecode --constraint requirements.lock
# Unit tests that train no study and start no server; a file that moves away makes `make quick` fail.
QUICK := $(addprefix tests/pipelines/,data files evaluation network/test_layers.py training/test_model.py) \
	$(addprefix tests/search/,spec devices cli/test_live_table.py cli/test_wrong_inputs.py finals/test_selection.py \
	home/test_text.py operations/test_deployment.py registry/test_gate.py reporting/test_charts.py \
	scheduling/test_scheduler.py tracking/test_spool.py) \
	tests/chaos/test_points.py tests/end_to_end/test_examples.py
FUZZ ?= study npz csv parquet picture h5
FUZZ_S ?= 600
DATA ?= $(or $(MLP_SEARCH_DATA),../shared/data)

unexport PYTHONDONTWRITEBYTECODE  # images set it, and then every command compiles this project again

.PHONY: run test suite quick check docs chaos fuzz compose-test gpu-test bench lock clean

run: .venv/run.stamp  ## search the digits of scikit-learn, then print the results
	$(BIN)/mlp-search run digits --trials 24

test: .venv/test.stamp  ## everything that CI runs; 12 to 25 minutes on two cores
	+$(MAKE) --no-print-directory --jobs=2 check suite

# Tests of servers and kills wait for a third of their time: a third process uses it. A fourth gains nothing.
suite: .venv/test.stamp
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/pytest --numprocesses 3 --dist worksteal

quick: .venv/test.stamp  ## between two edits: lint, format, types and the fast tests; at most 90 s
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/pytest --numprocesses 2 --dist worksteal $(QUICK)

check: .venv/test.stamp  ## lint, format, types, layers, limits on size, known vulnerabilities
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy fuzz/targets.py
	$(BIN)/lint-imports
	$(BIN)/python scripts/count_code.py
	$(BIN)/python scripts/audit.py

docs: .venv/test.stamp  ## build the documents as a site, site/index.html; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

fuzz: .venv/test.stamp  ## fuzz each parser of files for ten minutes; FUZZ names parsers, FUZZ_S seconds
	$(UV) --editable ".[fuzz]"
	for target in $(FUZZ); do $(BIN)/python fuzz/targets.py $$target -max_total_time=$(FUZZ_S) || exit 1; done

compose-test: .venv/test.stamp  ## build the image, start the containers and use them; about 15 minutes, needs Docker
	PYTEST_DEBUG_TEMPROOT="$${TMPDIR:-/tmp}" $(BIN)/pytest tests/compose -m compose  # containers mount folders of tests

chaos: .venv/test.stamp  ## kill processes and servers during studies; about an hour
	$(BIN)/pytest -m chaos tests/chaos tests/faults tests/search/workers/test_ray_cluster.py

gpu-test: .venv/test.stamp  ## on a machine with a GPU: its tests, and the panel on it; under ten minutes
	$(BIN)/python scripts/require_gpu.py
	$(UV) --editable ".[gpu]"
	$(BIN)/pytest -m gpu tests/gpu --timeout 120 --session-timeout 240
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/python benchmarks/panel.py --gpu --time-limit 200 --output benchmarks/results/gpu.json

bench: .venv/test.stamp  ## compare with Ray Tune and KerasTuner; about an hour
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/python benchmarks/panel.py
	MLP_SEARCH_DATA="$(abspath $(DATA))" $(BIN)/python benchmarks/race.py
	$(BIN)/python benchmarks/overhead.py

lock: .venv/uv.stamp  ## pin the newest versions that fit together; scripts/mlflow_tables.py follows a new MLflow
	$(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --all-extras --upgrade --quiet \
		--no-header --no-annotate --no-emit-index-url --output-file requirements.lock

clean:
	rm -rf .venv build dist site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

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
