"""Splits of rows into training, validation and test rows, and of all but the test rows into folds."""

from pipelines.data.splits.folds import FoldRows, automatic_folds, choose_folds, in_folds
from pipelines.data.splits.requirements import require_split_weights, require_weights
from pipelines.data.splits.shares import Shares, hash_rows, quantile_bins, share_as_told, share_by_time, share_rows
from pipelines.data.splits.stratified import can_be_drawn
