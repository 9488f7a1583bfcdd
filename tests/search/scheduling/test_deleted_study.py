"""A study that another program deletes while it is searched: one sentence, and no run in MLflow stays open."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
import sqlalchemy as sa
from registered import client_of
from searching import Watcher, runs_of
from studies import small_spec

from pipelines.errors import UnavailableError
from search.home.settings import read_settings
from search.scheduling.progress import Progress
from search.scheduling.run_study import run_study

_TABLES = (
    "trial_heartbeats", "trial_intermediate_values", "trial_params", "trial_system_attributes",
    "trial_user_attributes", "trial_values", "trials", "study_directions", "study_system_attributes",
    "study_user_attributes", "studies",
)  # fmt: skip


def _delete_rows(address: str) -> None:
    engine = sa.create_engine(address)
    with engine.begin() as connection:
        for table in _TABLES:
            connection.execute(sa.text(f"DELETE FROM {table}"))
    engine.dispose()


def _delete_study(address: str) -> None:
    optuna.delete_study(study_name="gone", storage=address)


@pytest.mark.parametrize("delete", [_delete_study, _delete_rows])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_one_sentence_and_every_run_ends(
    kind: str,
    delete: Callable[[str], None],
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
):
    home = tmp_path / "home"
    if kind == "postgresql":
        monkeypatch.setenv("OPTUNA_STORAGE", request.getfixturevalue("postgres")("gone"))
    address = read_settings(home).optuna_storage
    deleted: list[bool] = []

    def watch(progress: Progress) -> None:
        if not deleted and progress.complete + progress.pruned >= 2 and progress.slots:
            deleted.append(True)
            delete(address)

    spec = small_spec("gone", trials=200, slots=2, space={"epochs": 40}, search={"pruner": "none"})
    with pytest.raises(UnavailableError, match=r"^the study: .* was deleted") as raised:
        run_study(spec, home=home, observer=Watcher(watch))

    assert "\n" not in str(raised.value)
    statuses = {name: run.info.status for name, run in runs_of(client_of(home), "gone").items()}
    assert set(statuses.values()) == {"FINISHED", "KILLED"}, statuses
