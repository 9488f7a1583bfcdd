"""Hyperparameter search: an Optuna study over Keras MLPs, tracked by MLflow.

Commands that search, train, select, promote and predict are functions here:
``search.run_study(search.default_spec("digits", trials=20))``.
A name is imported when it is first used, so that ``import search`` is quick. In a notebook each function that takes
an observer shows its progress in the cell that calls it.
"""

from __future__ import annotations

import ast
import functools
import importlib
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the one list of public names: type checkers read it, and so does _modules
    from search.finals import (
        Ensemble as Ensemble,
        Finalist as Finalist,
        FinalistsResult as FinalistsResult,
        SealedResult as SealedResult,
        Verdict as Verdict,
        evaluate as evaluate,
        recorded_test as recorded_test,
        run_finalists as run_finalists,
    )
    from search.notebook.automatic import AutomaticResult as AutomaticResult, run_automatically as run_automatically
    from search.notebook.data import save_data as save_data
    from search.notebook.results import StudyResult as StudyResult, Trial as Trial
    from search.notebook.studies import compare as compare, load_study as load_study, run_study as run_study
    from search.optimization.enqueue import Enqueued as Enqueued, enqueue as enqueue
    from search.optimization.explanations import Explanation as Explanation
    from search.optimization.leaderboard import TrialRow as TrialRow, frame as frame
    from search.optimization.studies import resumed_spec as resumed_spec
    from search.registry.models import (
        Rollback as Rollback,
        VersionRow as VersionRow,
        models as models,
        rollback as rollback,
    )
    from search.registry.predict import Predictions as Predictions, predict as predict
    from search.registry.promotion import Promotion as Promotion, promote as promote
    from search.removal import (
        Deleted as Deleted,
        DeletedVersion as DeletedVersion,
        Pruned as Pruned,
        Renamed as Renamed,
        delete_study as delete_study,
        delete_version as delete_version,
        prune_models as prune_models,
        rename_study as rename_study,
    )
    from search.reporting.comparison import Comparison as Comparison
    from search.reporting.live.following import follow as follow
    from search.reporting.summaries import (
        StudySummary as StudySummary,
        explain_trial as explain_trial,
        studies as studies,
        trials as trials,
    )
    from search.spec import (
        StudySpec as StudySpec,
        default_spec as default_spec,
        override as override,
        read_spec as read_spec,
        spec_from_dict as spec_from_dict,
    )
    from search.training import (
        TrainingResult as TrainingResult,
        TrainingSpec as TrainingSpec,
        continue_training as continue_training,
        default_training as default_training,
        train_once as train_once,
    )
    from search.training.forecast import Forecast as Forecast, plan_study as plan_study

# Optuna and MLflow import tqdm, which asks for widgets in a notebook; the progress here needs none.
warnings.filterwarnings("ignore", message="IProgress not found")


@functools.cache
def _modules() -> dict[str, str]:
    """The module of each public name, read from the imports above."""
    [public] = [node for node in ast.parse(Path(__file__).read_text()).body if isinstance(node, ast.If)]
    ours = [node for node in public.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: str(node.module) for node in ours for alias in node.names}


def __getattr__(name: str) -> object:
    """Imports a public name."""
    if name == "__all__":
        return sorted(_modules())
    if name not in _modules():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(_modules()[name]), name)
    if "IPython" not in sys.modules:  # no notebook; the import below takes time
        return found
    from search.notebook.live import with_progress

    return with_progress(found)


def __dir__() -> list[str]:
    """The public names, for completion."""
    return sorted(_modules())
