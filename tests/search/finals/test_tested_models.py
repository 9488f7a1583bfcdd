"""The models that were tested on the same rows, counted over all studies."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import client_of

from search.finals.tested_models import (
    FIRST_READ,
    READ,
    TEST_ROWS,
    hash_of_tests,
    models_tested_on,
    number_of,
    record_test,
)
from search.home.settings import read_settings
from search.optimization.studies import load_study
from search.storage.attributes import FINGERPRINT, SEAL
from search.tracking.connection import make_database


@pytest.fixture
def server(tmp_path: Path) -> MlflowClient:
    make_database(f"sqlite:///{tmp_path}/mlflow.db")
    return client_of(tmp_path)


def run(server: MlflowClient, study: str, fingerprint: str, **tags: str) -> str:
    found = server.get_experiment_by_name(study)
    experiment = found.experiment_id if found else server.create_experiment(study)
    names = {"rows": TEST_ROWS, "read": FIRST_READ, "opened": READ}
    made = server.create_run(
        experiment, tags={"dataset.fingerprint": fingerprint} | {names[name]: value for name, value in tags.items()}
    )
    return made.info.run_id


def test_they_are_those_of_all_studies_by_their_rows_in_the_order_of_their_tests(server: MlflowClient):
    late = run(server, "one", "f", rows="r", read="20", opened="1")
    early = run(server, "two", "g", rows="r", read="5", opened="2")
    run(server, "two", "f", rows="q", read="1", opened="1")
    run(server, "two", "f")
    assert models_tested_on(server, "r", "f") == [early, late]
    assert models_tested_on(server, "x", "h") == []


def test_a_deleted_study_counts(server: MlflowClient):
    gone, left = (
        run(server, study, "f", rows="r", read=at, opened="1") for study, at in (("gone", "1"), ("left", "2"))
    )
    server.delete_experiment(server.get_experiment_by_name("gone").experiment_id)
    server.delete_run(left)
    assert models_tested_on(server, "r", "f") == [gone, left]


def test_tests_of_earlier_versions_count_by_their_fingerprint_and_come_first(server: MlflowClient):
    new = run(server, "new", "f", rows="r", read="7", opened="1")
    old = run(server, "old", "f", opened="1")
    run(server, "old", "g", opened="1")
    assert models_tested_on(server, "r", "f") == [old, new]
    assert models_tested_on(server, "", "f") == [old, new]


def test_rows_keep_the_hash_under_which_an_earlier_version_tested_them(server: MlflowClient):
    assert hash_of_tests(server, "now", "then") == "now"
    run(server, "old", "f", rows="then", read="7", opened="1")
    assert hash_of_tests(server, "now", "then") == "then"
    assert hash_of_tests(server, "now", "other") == "now"


def test_a_second_reading_of_a_model_keeps_its_number(server: MlflowClient):
    first, second = run(server, "s", "f"), run(server, "s", "f")
    for run_id in (first, second, first):
        record_test(server, run_id, "r")
    models = models_tested_on(server, "r", "f")
    assert models == [first, second]
    assert (number_of(second, models), number_of("another", models)) == (2, 3)


def test_each_study_records_the_number_of_its_model(contenders: Path):
    studies = {
        name: load_study(read_settings(contenders), name).user_attrs
        for name in ("weak", "middle", "strong", "equal", "other")
    }
    assert [attributes[SEAL][0]["ordinal"] for attributes in studies.values()] == [1, 2, 3, 4, 1]
    seal = studies["strong"][SEAL][0]
    models = models_tested_on(client_of(contenders), seal["test_rows"], studies["strong"][FINGERPRINT])
    assert models == [studies[name][SEAL][0]["run_id"] for name in ("weak", "middle", "strong", "equal")]
