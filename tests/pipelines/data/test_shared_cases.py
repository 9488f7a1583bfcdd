"""The small shared inputs that once gave wrong results or were refused too late."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipelines.config import DataConfig
from pipelines.data import loading
from pipelines.errors import DataError

SHARED = {
    "decimal_comma.csv": "column 'price': texts are read as numbers, '697,22' as 697.22",
    "q_in_test.csv": "'?' (1 of 240 rows) counts as missing",
    "num_as_text.parquet": "column 'price': texts are read as numbers",
    "weights.npz": "array 'groups': rows with one of its values stay in one split",
    "dup.csv": "58 of 58 validation rows equal a training row",
    "idleak.csv": "column 'id': whole numbers that differ in every row",
    "groups.csv": "column 'patient': all rows with one of its 100 values have the same label",
    "trailing_space_labels.csv": "blanks around labels are removed",
    "case_labels.csv": "labels 'YES', 'Yes' differ by case alone",
    "dates.csv": "column 'when': dates become the numbers",
    "ts.parquet": "column 'ts': dates become the numbers",
    "indexed.parquet": "index 'x1': not used",
    "na_label.csv": "the texts 'NA' (120 rows) are labels, not missing",
    "zip.csv": "column 'zip': texts with leading zeros are read as numbers",
    "semicolon.csv": "column 'x1': texts are read as numbers, '0,1257' as 0.1257",
}


@pytest.mark.parametrize(("name", "note"), SHARED.items(), ids=SHARED)
def test_a_shared_case_is_read_and_a_line_says_how(cases: Path, name: str, note: str):
    assert any(note in line for line in loading.load(DataConfig(str(cases / name))).notes)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("testnewlabel.npz", "y_test: every label must occur in training, got '2' (18)"),
        ("inf_in_test.csv", "column 'price': must hold finite float32 numbers, got inf (1 such rows, the first 51)"),
        ("multilabel.npz", "several labels a row are not supported"),
    ],
)
def test_a_shared_case_is_refused_when_the_file_is_read(cases: Path, name: str, message: str):
    with pytest.raises(DataError) as caught:
        loading.load(DataConfig(str(cases / name)))
    assert message in str(caught.value)
    assert "argmax" not in str(caught.value)


def test_the_same_shared_table_is_read_from_each_form(cases: Path):
    tables = [loading.load(DataConfig(str(cases / name))) for name in ("semicolon.csv", "tabs.csv", "base.csv.gz")]
    assert all(np.array_equal(tables[0].training.x, other.training.x) for other in tables)
    own = loading.load(DataConfig(str(cases / "ownval.npz")))
    assert (len(own.training.y), len(own.validation.y), own.n_test) == (200, 50, 50)
    times = loading.load(DataConfig(str(cases / "ts.csv"))).training.x[:, 0]
    assert len(np.unique(times)) > 1500
    declared = loading.load(DataConfig(str(cases / "zip.csv"), text_columns=["zip"]))
    assert declared.preprocessing.columns.columns[-1].categories == ("00501", "01234", "60601", "99501")
