"""The target of a dataset: which task it is, class numbers of labels, and the scaling of a regression's values."""

from pipelines.data.targets.advice import advice as advice, listed as listed, task_note as task_note
from pipelines.data.targets.encoded import (
    TargetScaling as TargetScaling,
    number_labels as number_labels,
    require_regressable as require_regressable,
)
from pipelines.data.targets.labels import clean_labels as clean_labels, labels_of_column as labels_of_column
