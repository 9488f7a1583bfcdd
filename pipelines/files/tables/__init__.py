"""Tables: ``.csv``, ``.tsv`` and ``.parquet`` files."""

from pipelines.files.tables.csv_files import MISSING
from pipelines.files.tables.large import LargeTable
from pipelines.files.tables.opening import SHORT, Table, open_table, read_table
from pipelines.files.tables.parquet_files import announce
