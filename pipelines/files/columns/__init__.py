"""A column of a table: texts read as numbers or dates, one reading for the whole column, and conversions."""

from pipelines.files.columns.conversion import (
    FINE as FINE,
    found as found,
    merged as merged,
    to_days as to_days,
    to_numbers as to_numbers,
)
from pipelines.files.columns.reading import (
    FEW_CATEGORIES as FEW_CATEGORIES,
    IGNORED as IGNORED,
    MAX_CATEGORIES as MAX_CATEGORIES,
    STRIPPED as STRIPPED,
    TEXT as TEXT,
    is_category as is_category,
    read_texts as read_texts,
    reread as reread,
)
