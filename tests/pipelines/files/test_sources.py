"""Finding a source, and errors about wrong names and settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.errors import DataError
from pipelines.files.sources import is_available


def test_the_first_folder_that_has_the_file_wins(tmp_path: Path):
    x, y = np.random.default_rng(0).normal(size=(30, 2, 2)), np.arange(30) % 3
    for number, folder in enumerate(("empty", "first", "second")):
        (tmp_path / folder).mkdir()
        if number:
            np.savez(tmp_path / folder / "mnist.npz", x_train=x + 100 * number, y_train=y)
    folders = [tmp_path / "empty", tmp_path / "first", tmp_path / "second"]

    assert 90 < loading.load(DataConfig("mnist"), folders).training.x.mean() < 110
    assert is_available("mnist", folders)
    assert not is_available("mnist", folders[:1])
    assert not is_available("nothing", folders)
    assert is_available("digits")


def test_a_download_without_a_network_says_where_to_put_the_file(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from pipelines.data import loading\n"
        "from pipelines.config import DataConfig\n"
        "from pipelines.errors import UnavailableError\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'sklearn'} & set(sys.modules)\n"
        "try: loading.load(DataConfig('mnist'), [Path('first'), Path('last')])\n"
        "except UnavailableError as error: sys.exit(f'expected: {error}')\n"
    )
    nowhere = "http://127.0.0.1:9"
    environment = {**os.environ, "KERAS_HOME": str(tmp_path), "HTTPS_PROXY": nowhere, "https_proxy": nowhere}
    environment["PYTHONPATH"] = str(Path(__file__).parents[3])
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    expected = next(line for line in done.stderr.splitlines() if line.startswith("expected: "))
    assert "mnist: could not be downloaded" in expected
    assert str(Path("last") / "mnist.npz") in expected
    assert done.stdout == ""
    assert not (tmp_path / "last").exists()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            DataConfig("digits", validation_fraction=0.0),
            "data.validation_fraction: must be above 0 and below 1, got 0.0",
        ),
        (DataConfig("digits", test_fraction=1.0), "data.test_fraction: must be above 0 and below 1, got 1.0"),
        (DataConfig("digits", validation_fraction=0.999), "both sides must have room for every class"),
        (
            DataConfig("digits", scaling="max"),
            "data.scaling: must be one of auto, minmax, standard, robust, qu",
        ),  # type: ignore[arg-type]
        (DataConfig("digits", split_seed=-1), "data.split_seed: must be at least 0"),
        (DataConfig("digits", target="species"), "data.target: only tables have one, got 'species' for digits"),
        (DataConfig("minst"), "unknown source, got 'minst' (did you mean 'mnist'?): choose digits, mnist,"),
        (DataConfig("rows.xlsx"), "a file must end in .npz, .csv, .csv.gz, .tsv, .tsv.gz, .parquet, got 'rows.xlsx'"),
    ],
)
def test_wrong_settings_give_one_line(config: DataConfig, expected: str):
    with pytest.raises(DataError) as caught:
        loading.load(config)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_all_wrong_settings_are_reported_at_once():
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig("digits", validation_fraction=2, test_fraction=-1, split_seed=-1))
    assert len(caught.value.problems) == 3


def test_a_folder_is_no_source(tmp_path: Path):
    (folder := tmp_path / "parts.parquet").mkdir()
    with pytest.raises(DataError, match=r"data.source: must be a file, got the folder '.*parts.parquet'"):
        loading.load(DataConfig(str(folder)))
