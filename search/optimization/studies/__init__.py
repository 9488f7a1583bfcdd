"""Studies: how they are loaded, started and resumed."""

from search.optimization.studies.loading import (
    is_begun,
    load_own_study,
    load_study,
    load_writable_study,
    precision_rule,
    recorded_attributes,
    study_data,
    study_names,
)
from search.optimization.studies.opening import open_study, require_own_experiment
from search.optimization.studies.resuming import as_recorded, keep_recorded_defaults, resumed_spec
