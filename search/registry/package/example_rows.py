"""The input example of a promoted model: training rows as their source holds them."""

from __future__ import annotations

from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pipelines.config import DataConfig
from pipelines.data.datasets import Dataset
from pipelines.encoding.encoder import TableEncoder
from pipelines.errors import DataError
from pipelines.files.tables import LargeTable, open_table

if TYPE_CHECKING:
    import pandas as pd

_N_EXAMPLES = 2


def example_rows(config: DataConfig, dataset: Dataset) -> np.ndarray | pd.DataFrame:
    """The first training rows as their source holds them."""
    if (encoder := dataset.preprocessing.columns) is None:
        return dataset.training.x[:_N_EXAMPLES]
    found = _find_rows(config, encoder, {row.tobytes() for row in dataset.training.x[:_N_EXAMPLES]})
    found = found.astype(object).where(found.notna(), None)
    return found.map(_as_json)


def _as_json(value: object) -> object:
    """A value as JSON can hold it, and the model reads it: MLflow writes the example as JSON."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value) if isinstance(value, Decimal | date | time) else value


def _find_rows(config: DataConfig, encoder: TableEncoder, known: set[bytes]) -> pd.DataFrame:
    """Returns the first rows of a table that are encoded as some of these bytes.

    They are found by their values among all rows: the first rows of the file may be test rows, which nobody is shown.
    """
    import pandas as pd

    used = [column.name for column in encoder.columns if column.n_features]
    table = open_table(Path(config.source).expanduser(), encoder.text_columns, encoder.literal_columns)
    found: list[pd.DataFrame] = []
    for part in table.parts(used, date_as_object=True) if isinstance(table, LargeTable) else [table[used]]:
        found.append(_rows_among(known, part, encoder))
        if sum(map(len, found)) >= _N_EXAMPLES:
            break
    return pd.concat(found).head(_N_EXAMPLES).reset_index(drop=True)


def _rows_among(known: set[bytes], rows: pd.DataFrame, encoder: TableEncoder) -> pd.DataFrame:
    """Returns the rows that are encoded as some of these bytes; rows without a label may hold what no row can."""
    import pandas as pd

    try:
        return rows[[row.tobytes() in known for row in encoder.encode(rows)]]
    except DataError:
        half = len(rows) // 2
        halves = (rows[:half], rows[half:]) if half else ()
        return pd.concat([rows[:0], *(_rows_among(known, part, encoder) for part in halves)])
