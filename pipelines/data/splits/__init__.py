"""Splits of rows into training, validation and test rows, and of all but the test rows into folds."""

from pipelines.data.splits.folds import (
    FoldRows as FoldRows,
    automatic_folds as automatic_folds,
    choose_folds as choose_folds,
    in_folds as in_folds,
)
from pipelines.data.splits.requirements import require_weights as require_weights
from pipelines.data.splits.shares import (
    Shares as Shares,
    hash_rows as hash_rows,
    quantile_bins as quantile_bins,
    share_as_told as share_as_told,
    share_by_time as share_by_time,
    share_rows as share_rows,
)
