"""Each trial trains in the precision that the study's rule gives for its sizes, and its run says so."""

from __future__ import annotations

from scripted_pool import FAILED, ScriptedPool
from world import World, script

from search.optimization.studies import open_study
from search.spec.dimensions import Choice, Fixed
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec, WorkerSettings

SPACE = SearchSpace({"width": Choice((32, 512)), "depth": Fixed(2), "batch_size": Fixed(128), "epochs": Fixed(2)})


def precisions(world: World, spec: StudySpec, pool: ScriptedPool) -> dict[int, str]:
    """The precision of each trial by its width, the same in its task, its run and its row."""
    world.search(spec, pool)
    tasks = {task.number: task for _, task in pool.tasks}
    runs = world.runs(spec)
    for row in world.rows(spec):
        of_run = runs[f"trial-{row.number:04d}"].data.tags["precision"]
        assert tasks[row.number].precision == of_run == row.precision
    return {task.hyperparameters.width: task.precision for task in tasks.values()}


def test_the_sizes_decide_where_the_study_settled_that(world: World) -> None:
    spec = world.spec(space=SPACE, trials=2, sampler="grid")
    open_study(world.settings, spec, "f00d", lambda: "by_size")  # on a machine with the instructions
    pool = ScriptedPool(1, script({0: [[FAILED]]}))
    assert precisions(world, spec, pool) == {32: "float32", 512: "bfloat16"}


def test_all_networks_have_the_precision_that_was_asked_for(world: World) -> None:
    for asked in ("float32", "bfloat16"):
        spec = world.spec(space=SPACE, trials=2, sampler="grid", workers=WorkerSettings(precision=asked))
        assert precisions(world, spec, ScriptedPool()) == {32: asked, 512: asked}
