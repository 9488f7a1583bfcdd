"""Studies: how they are loaded, started and resumed."""

from search.optimization.studies.loading import (
    is_begun as is_begun,
    load_own_study as load_own_study,
    load_study as load_study,
    load_writable_study as load_writable_study,
    precision_rule as precision_rule,
    recorded_baselines as recorded_baselines,
    study_data as study_data,
    study_names as study_names,
)
from search.optimization.studies.opening import (
    open_study as open_study,
    require_own_experiment as require_own_experiment,
)
from search.optimization.studies.resuming import (
    as_recorded as as_recorded,
    keep_recorded_defaults as keep_recorded_defaults,
)
