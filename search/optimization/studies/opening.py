"""Starts a study, or opens the one of that name to continue it."""

from __future__ import annotations

from collections.abc import Callable

from pipelines.errors import SpecError
from pipelines.objectives import OBJECTIVES
from search.devices.precision import PrecisionRule
from search.home.settings import Settings
from search.optimization.pruners import make_pruner
from search.optimization.studies.loading import FOREIGN, load_study, study_names
from search.optimization.studies.resuming import require_resumable
from search.spec import StudySpec
from search.storage import CachedStorage, StoredStudy, open_storage
from search.storage.attributes import FINGERPRINT, LIKED, PRECISION, SPEC, VIRTUAL_SLOTS
from search.storage.database import name_objective
from search.storage.sharing import exclusive_access
from search.tracking.run_names import TRAININGS


def open_study(
    settings: Settings,
    spec: StudySpec,
    fingerprint: str,
    settle_precision: Callable[[], PrecisionRule] = lambda: "float32",
    virtual_slots: int = 0,
) -> StoredStudy:
    """Starts a study, or resumes the one of that name.

    Args:
        settings: Places of this process.
        spec: The study.
        fingerprint: Of its dataset.
        settle_precision: Called once in the life of a study, when it is started.
        virtual_slots: Slots of the virtual clock that the study gets when it is started; 0 means that it has none.

    Raises:
        SpecError: The study of that name searches something else, or is another program's.
        UnavailableError: The database cannot be used.
    """
    direction = OBJECTIVES[spec.metric].direction
    database = open_storage(settings)
    storage = CachedStorage(database, spec.name, direction, shared=settings.is_shared)
    study = StoredStudy(spec.name, storage, make_pruner(spec))
    with exclusive_access(settings, study):  # processes that start it at once settle one precision
        recorded = study.user_attrs
        if SPEC in recorded:
            require_resumable(spec, recorded, fingerprint)
        elif study.get_trials(deepcopy=False) or study.direction.name.lower() != direction:
            raise SpecError(FOREIGN.format(spec.name))
        new = {} if SPEC in recorded else _settled(spec, settle_precision(), virtual_slots)
        with study.transaction():  # a process that dies leaves all of it or nothing
            for key, value in (new | {SPEC: spec.to_json(), FINGERPRINT: fingerprint}).items():
                study.set_user_attr(key, value)
        name_objective(database, spec.name, spec.metric)
    return study


def _settled(spec: StudySpec, rule: PrecisionRule, virtual_slots: int) -> dict[str, object]:
    """The settings that a study never changes."""
    clock = {VIRTUAL_SLOTS: virtual_slots} if virtual_slots else {}
    return {PRECISION: rule, **clock, **({} if spec.n_liked is None else {LIKED: spec.n_liked})}


def require_own_experiment(settings: Settings, name: str) -> None:
    """Checks that a new study's name is not that of another program's study, or of an experiment with other runs.

    The artifacts of MLflow's experiment 0 lie outside the home. Some of MLflow's databases do not tell upper case from
    lower case.

    Raises:
        SpecError: It is.
    """
    names = study_names(settings)
    if name in names and SPEC not in (there := load_study(settings, name)).user_attrs and there.trials:
        raise SpecError(FOREIGN.format(name))
    rule = ""
    if name.casefold() == "default":
        rule = "must not be MLflow's experiment Default"
    elif name.casefold().startswith(TRAININGS):
        rule = f"must not begin with {TRAININGS}, as experiments of single trainings do"
    if rule and name not in names:
        raise SpecError(f"study.name: {rule}, got {name!r}: choose another name")
