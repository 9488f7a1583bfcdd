"""What to train next, where, and what was learned: an Optuna study over Keras MLPs, tracked by MLflow.

What the command line does is one call away: ``search.run_study(search.default_spec("digits", trials=20))``. The names
below are imported when they are first used, so that ``import search`` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.explain import Explanation, explain_trial
    from search.finalists import Finalist, Verdict
    from search.finals import FinalistsResult, run_finalists
    from search.overview import StudySummary, studies
    from search.plan import Forecast, plan_study
    from search.prediction import Predictions, predict
    from search.promotion import Promotion, promote
    from search.registry import Rollback, VersionRow, models, rollback
    from search.sealing import SealedResult, evaluate
    from search.spec import StudySpec, default_spec, override, read_spec, spec_from_dict
    from search.storage import TrialRow
    from search.study import StudyResult, frame, run_study, trials
    from search.training_run import TrainingResult, continue_training, train_once
    from search.training_spec import TrainingSpec, default_training

_PLACES = {
    "search.explain": ("Explanation", "explain_trial"),
    "search.finalists": ("Finalist", "Verdict"),
    "search.finals": ("FinalistsResult", "run_finalists"),
    "search.overview": ("StudySummary", "studies"),
    "search.plan": ("Forecast", "plan_study"),
    "search.prediction": ("Predictions", "predict"),
    "search.promotion": ("Promotion", "promote"),
    "search.registry": ("Rollback", "VersionRow", "models", "rollback"),
    "search.sealing": ("SealedResult", "evaluate"),
    "search.spec": ("StudySpec", "default_spec", "override", "read_spec", "spec_from_dict"),
    "search.storage": ("TrialRow",),
    "search.study": ("StudyResult", "frame", "run_study", "trials"),
    "search.training_run": ("TrainingResult", "continue_training", "train_once"),
    "search.training_spec": ("TrainingSpec", "default_training"),
}
_PLACE_OF = {name: place for place, names in _PLACES.items() for name in names}

__all__ = [
    "Explanation",
    "Finalist",
    "FinalistsResult",
    "Forecast",
    "Predictions",
    "Promotion",
    "Rollback",
    "SealedResult",
    "StudyResult",
    "StudySpec",
    "StudySummary",
    "TrainingResult",
    "TrainingSpec",
    "TrialRow",
    "Verdict",
    "VersionRow",
    "continue_training",
    "default_spec",
    "default_training",
    "evaluate",
    "explain_trial",
    "frame",
    "models",
    "override",
    "plan_study",
    "predict",
    "promote",
    "read_spec",
    "rollback",
    "run_finalists",
    "run_study",
    "spec_from_dict",
    "studies",
    "train_once",
    "trials",
]


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name not in _PLACE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_PLACE_OF[name]), name)


def __dir__() -> list[str]:
    """For completion in a notebook."""
    return sorted([*globals(), *__all__])
