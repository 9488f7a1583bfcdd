"""The report's own figures."""

from __future__ import annotations

import optuna
from optuna.trial import TrialState, create_trial

from search.reporting.charts import charts
from search.storage.attributes import RESULT


def test_a_pruned_trial_is_counted_where_it_ended_though_its_result_is_a_copy() -> None:
    study = optuna.create_study(direction="maximize")
    reported = create_trial(state=TrialState.PRUNED, intermediate_values={1: 0.5, 2: 0.6})
    copied = create_trial(state=TrialState.PRUNED, user_attrs={RESULT: {"epochs_trained": 3}})
    study.add_trials([reported, copied, copied])
    [bars] = charts(study)["pruning"]["data"]
    assert (bars["x"], bars["y"]) == ([2, 3], [1, 2])
