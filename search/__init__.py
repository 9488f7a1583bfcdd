"""What to train next, where, and what was learned: an Optuna study over Keras MLPs, tracked by MLflow.

Each command of the command line is one function here: ``search.run_study(search.default_spec("digits", trials=20))``.
A name is imported when it is first used, so ``import search`` is quick.
"""

from __future__ import annotations

import ast
import functools
import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # the one list of public names: type checkers read it, and so does _modules
    from search.finals.finalist import Finalist as Finalist
    from search.finals.finals import FinalistsResult as FinalistsResult, run_finalists as run_finalists
    from search.finals.readings import SealedResult as SealedResult
    from search.finals.sealed_test import evaluate as evaluate
    from search.finals.verdict import Verdict as Verdict
    from search.optimization.leaderboard import TrialRow as TrialRow
    from search.registry.models import (
        Rollback as Rollback,
        VersionRow as VersionRow,
        models as models,
        rollback as rollback,
    )
    from search.registry.predict import Predictions as Predictions, predict as predict
    from search.registry.promotion import Promotion as Promotion, promote as promote
    from search.reporting.explain import Explanation as Explanation, explain_trial as explain_trial
    from search.reporting.study_summaries import StudySummary as StudySummary, studies as studies
    from search.scheduling.run_study import (
        StudyResult as StudyResult,
        frame as frame,
        run_study as run_study,
        trials as trials,
    )
    from search.spec.study_spec import (
        StudySpec as StudySpec,
        default_spec as default_spec,
        override as override,
        read_spec as read_spec,
        spec_from_dict as spec_from_dict,
    )
    from search.training.configuration import TrainingSpec as TrainingSpec, default_training as default_training
    from search.training.forecast import Forecast as Forecast, plan_study as plan_study
    from search.training.train import (
        TrainingResult as TrainingResult,
        continue_training as continue_training,
        train_once as train_once,
    )


@functools.cache
def _modules() -> dict[str, str]:
    """The module of each public name."""
    tree = ast.parse(Path(__file__).read_text())
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    return {
        alias.name: node.module
        for node in imports
        for alias in node.names
        if node.module and node.module.startswith(f"{__name__}.")
    }


def __getattr__(name: str) -> Any:
    """Imports a public name."""
    if name == "__all__":
        return sorted(_modules())
    if name not in _modules():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_modules()[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(_modules())
