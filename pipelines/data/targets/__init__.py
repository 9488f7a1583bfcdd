"""The target of a dataset: which task it is, class numbers of labels, and the scaling of a regression's values."""

from pipelines.data.targets.advice import advice, listed, missing_note, task_note
from pipelines.data.targets.encoded import (
    TargetScaling,
    majority_share,
    number_labels,
    require_positive,
    require_regressable,
)
from pipelines.data.targets.labels import clean_labels, labels_of_column
