"""The doctor in a home that it cannot write."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from homes import StudyBuilder, model_file
from rights import as_a_user_without_rights, unwritable
from waiting import PATIENCE_S

from search.home.settings import prepare_home, read_settings

DOCTOR = """
import json
import sys
from pathlib import Path
from search.cli.app import main
from search.doctor import diagnose

for home in sys.argv[2:]:
    found = diagnose(home=Path(home))
    print(json.dumps([[finding.kind for finding in found.found], found.remarks]))
sys.exit(main(["doctor", "--home", sys.argv[1], "--repair"]))
"""


def state(home: Path) -> dict[str, tuple[int, int, int]]:
    paths = [home, *home.rglob("*")]
    stats = [(path, path.stat()) for path in paths]
    return {str(path): (stat.st_mtime_ns, stat.st_size, stat.st_mode) for path, stat in stats}


def test_it_looks_at_a_home_that_it_cannot_write_and_changes_nothing(tmp_path: Path) -> None:
    """One as it is, one that was moved, and one with what a dead process left beside its databases."""
    settings = read_settings(tmp_path / "home", {})
    prepare_home(settings)
    builder = StudyBuilder(settings, "sick")
    run_id = builder.add()
    builder.trial("RUNNING")
    model_file(settings, run_id).unlink()
    homes = [tmp_path / name for name in ("plain", "moved", "busy")]
    for home in homes:
        shutil.copytree(settings.home, home)
    shutil.rmtree(settings.home)
    for name in ("optuna.db", "mlflow.db"):
        with closing(sqlite3.connect(homes[0] / name)) as database:
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        for suffix in ("-wal", "-shm"):
            (homes[0] / (name + suffix)).unlink(missing_ok=True)
            (homes[2] / (name + suffix)).touch()
    shutil.rmtree(homes[1] / "locks")
    (homes[2] / "mlflow.db").chmod(0o644)
    with unwritable(*homes):
        before = {home: state(home) for home in homes}
        done = subprocess.run(
            as_a_user_without_rights(sys.executable, "-c", DOCTOR, *map(str, homes[:1] + homes)),
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True,
            timeout=PATIENCE_S, check=False,
        )  # fmt: skip
        assert {home: state(home) for home in homes} == before
    assert len(done.stdout.splitlines()) == 3, done.stderr
    for home, line in zip(homes, done.stdout.splitlines(), strict=True):
        kinds, remarks = json.loads(line)
        assert sorted(kinds) == ["missing model.h5", "trial left in training"]
        assert remarks == [f"home {home}: is read-only; checked copies of its databases"]
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: home {homes[0]}: must be a folder that can be written, got ")
    assert done.stderr.count("\n") == 1
