"""The models that were tested on the same rows, over all studies.

MLflow has them, as tags of their runs: it is the one place that all studies share.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.tracking.connection import mlflow_errors
from search.tracking.entries import now_ms
from search.tracking.history import all_runs, experiment_ids

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


TEST_ROWS, FIRST_READ, READ = "test.rows", "test.first_read_ms", "seal.opened"
"""Tags: hash of the test rows, Unix time of the first reading, and the tag that readings of all versions have."""


def hash_of_tests(client: MlflowClient, test_rows: str, earlier: str) -> str:
    """The hash under which test rows are recorded: that of earlier versions where a model was tested on them so.

    Args:
        client: MLflow's client.
        test_rows: Hash of the rows.
        earlier: The hash that earlier versions had, which depends on what ``[data]`` says of the columns.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    return earlier if earlier != test_rows and models_tested_on(client, earlier, "") else test_rows


def record_test(client: MlflowClient, run_id: str, test_rows: str) -> None:
    """Records that a run's model is tested, before there is a result: a crash cannot hide a reading.

    Raises:
        UnavailableError: MLflow cannot be reached or refuses it.
    """
    from mlflow.entities import RunTag

    with mlflow_errors(f"run {run_id}: MLflow must take the record of its test"):
        known = client.get_run(run_id).data.tags
        tags = [RunTag(TEST_ROWS, test_rows)]
        if FIRST_READ not in known and READ not in known:
            tags.append(RunTag(FIRST_READ, str(now_ms())))
        client.log_batch(run_id, tags=tags)


def models_tested_on(client: MlflowClient, test_rows: str, fingerprint: str) -> list[str]:
    """The runs whose models were tested on these rows, deleted ones too, in the order of their first tests.

    Args:
        client: MLflow's client.
        test_rows: Hash of the test rows; "" for a test of an earlier version, which did not record it.
        fingerprint: Of the dataset and its split, which decides about runs without that hash.

    Raises:
        UnavailableError: MLflow cannot be reached.
    """
    queries = [f"tags.`{READ}` LIKE '%' AND tags.`dataset.fingerprint` = '{fingerprint}'"]
    if test_rows:
        queries.append(f"tags.`{TEST_ROWS}` = '{test_rows}'")
    found: dict[str, Run] = {}
    with mlflow_errors("MLflow must list the models that were tested on the same rows"):
        experiments = experiment_ids(client)
        for query in queries:
            found |= {str(run.info.run_id): run for run in all_runs(client, experiments, query)}
    same = [run for run in found.values() if not test_rows or run.data.tags.get(TEST_ROWS, test_rows) == test_rows]
    return [str(run.info.run_id) for run in sorted(same, key=_first_read)]


def _first_read(run: Run) -> tuple[int, int, str]:
    """Sorts runs by their first tests; those of an earlier version, which did not record it, come first."""
    at = run.data.tags.get(FIRST_READ, "")
    return int(at) if at.isdecimal() else 0, run.info.start_time or 0, run.info.run_id


def number_of(run_id: str, models: list[str]) -> int:
    """The number of a model, from 1, among those of ``models_tested_on``; the next one if it is not among them."""
    return models.index(run_id) + 1 if run_id in models else len(models) + 1
