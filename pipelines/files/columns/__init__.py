"""A column of a table: texts read as numbers or dates, one reading for the whole column, and conversions."""

from pipelines.files.columns.conversion import EXACT, FILE_ROWS, FINE, found, merged, to_days, to_numbers
from pipelines.files.columns.reading import (
    FEW_CATEGORIES,
    IGNORED,
    MAX_CATEGORIES,
    MOST,
    STRIPPED,
    TEXT,
    is_category,
    read_texts,
    reread,
)
