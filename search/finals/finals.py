"""Runs the finals of a study: checks the options, opens the study, and trains its finalists."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from pipelines.errors import SpecError
from search.finals.ensemble import require_seeds
from search.finals.finalist import candidates
from search.finals.opening import exclusive_study
from search.finals.result import FinalistsResult, Model
from search.finals.selection import EverySeed, Plan
from search.finals.training import FinalistQueue, FinalsTrainer
from search.home.settings import read_settings
from search.home.text import counted
from search.optimization.studies import load_own_study
from search.scheduling.progress import Observer
from search.spec import StudySpec, override
from search.spec.rules import as_count
from search.storage.attributes import VERDICT
from search.workers.start import prepare_pool

_DEFAULT = 5
"""Configurations, and seeds of each, of a study's first finals."""
_MOST = 1000
"""Seeds."""


def run_finalists(
    name: str,
    *,
    top: int | None = None,
    seeds: int | None = None,
    refit: bool | None = None,
    ensemble: bool = False,
    slots: int | None = None,
    gpus: str | None = None,
    home: Path | None = None,
    pool: str = "local",
    observer: Observer | None = None,
) -> FinalistsResult:
    """Trains the best configurations of a study again and names the winner; called again, it trains what is missing.

    Args:
        name: The study.
        top: How many distinct configurations; None is the number of the finals before, and 5 for the first.
        seeds: Runs of each, with seeds that no trial had; a configuration that can come neither first nor second
            any more gets fewer. None is as for ``top``.
        refit: Whether the winner is trained once more, on training and validation rows together, up to the latest
            epoch whose mean value over the seeds is within one standard error of the best. The model is the last
            epoch's: there are no rows to choose another by. None does what the study's finalists did before; the first
            ones do it where the study has one split.
        ensemble: Whether the winner's networks of all seeds become one model, which predicts their mean. With ``refit``
            true they are refits, as many as there are seeds.
        slots: Trainings at the same time; the study's by default.
        gpus: Number of GPUs, or their indexes or UUIDs; the study's by default.
        home: Where the databases are; ``MLP_SEARCH_HOME`` or ``mlruns/`` by default.
        pool: Where they are trained; see ``run_study``.
        observer: Is told of every change; None for nobody.

    Raises:
        NotFoundError: There is no such study, or no trial of it is complete.
        SpecError: An option breaks a rule, or the dataset was changed since.
        DataError, UnavailableError: As for ``run_study``.
    """
    top = None if top is None else as_count(top, "--top")
    seeds = None if seeds is None else as_count(seeds, "--seeds")
    if seeds is not None and seeds > _MOST:
        raise SpecError(f"--seeds: must be at most {_MOST:,}, got {seeds}")
    before = load_own_study(read_settings(home), name).user_attrs.get(VERDICT, {})
    top, seeds = (given or before.get(key, _DEFAULT) for key, given in (("top", top), ("seeds", seeds)))
    model = _model_of(refit=refit, ensemble=ensemble)
    if (model or before.get("model")) in ("ensemble", "refit-ensemble"):
        require_seeds(seeds)
    workers = {"slots": slots, "gpus": gpus}
    plan = EverySeed((top,) * seeds)
    return run_plan(name, plan, model=model, workers=workers, home=home, pool=pool, observer=observer, retries=True)


def _model_of(*, refit: bool | None, ensemble: bool) -> Model | None:
    """The model that options ask for; None where they leave it open."""
    if ensemble:
        return "refit-ensemble" if refit else "ensemble"
    return None if refit is None else "refit" if refit else "finalist"


def run_plan(
    name: str,
    plan: Plan,
    *,
    model: Model | None = None,
    workers: Mapping[str, object] | None = None,
    home: Path | None = None,
    pool: str = "local",
    observer: Observer | None = None,
    retries: bool = False,
) -> FinalistsResult:
    """``run_finalists`` with any plan of which configuration gets which seeds.

    Args:
        name: The study.
        plan: Says which runs there are.
        model: Of the study; None keeps the one that it has, and lets the plan choose for its first finals.
        workers: Values of ``[workers]`` by their key; None keeps the study's, and so does None for one of them.
        home: As for ``run_finalists``, like the others.
        pool: See there.
        observer: See there.
        retries: Whether finalists are trained again that failed before.
    """
    prepare_pool(pool)
    with exclusive_study(name, home, observer or Observer()) as (context, dataset):
        context = replace(context, spec=_with_workers(context.spec, workers or {}, pool))
        found = candidates(context.study, plan.sizes[0])
        if len(found) < plan.sizes[0]:
            there = counted(len(found), "complete configuration")
            context.observer.note(f"study {name}: has {there}, fewer than the {plan.sizes[0]} finalists asked for")
        queue = FinalistQueue(context, dataset, found, plan, retries=retries)
        return FinalsTrainer(context, dataset, queue, pool).run(model)


def _with_workers(spec: StudySpec, given: Mapping[str, object], pool: str) -> StudySpec:
    """The study with other workers; which GPUs of this machine its search used says nothing to another pool."""
    if pool != "local":
        spec = replace(spec, workers=replace(spec.workers, gpus=None, trials_per_gpu=None))
    wanted = {key: value for key, value in given.items() if value is not None}
    return replace(spec, workers=override(spec, **wanted).workers) if wanted else spec
