"""Pruners: where trials end, and that a lost verdict is given again."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from hypothesis import given, settings, strategies as st
from in_memory import ask, make_spec, make_study
from optuna.trial import TrialState

from search.optimization.pruners import judge_again, make_pruner
from search.spec.dimensions import Range
from search.spec.space import SearchSpace
from search.spec.study_spec import StudySpec

Curves = list[list[float]]


def ends(spec: StudySpec, curves: Curves, lost_at: tuple[int, int] | None = None) -> list[int]:
    """The epoch at which each of several trials, one after another, ended.

    Args:
        spec: Names the pruner.
        curves: What each trial reports, epoch by epoch.
        lost_at: Trial and epoch whose verdict is lost: the trial is trained again by another process.
    """
    study, ended = make_study(spec), []
    for number, curve in enumerate(curves):
        trial, _ = ask(spec, study)
        first = 1
        if lost_at and lost_at[0] == number:
            for epoch in range(1, lost_at[1] + 1):
                trial.report(curve[epoch - 1], epoch)
                if trial.should_prune() and epoch < lost_at[1]:
                    return []  # it ended before; nothing is lost
            study.requeue(trial.number)
            trial, first = study.ask(), lost_at[1]
        for epoch in range(first, len(curve) + 1):
            again = bool(lost_at) and (number, epoch) == lost_at
            if not again:
                trial.report(curve[epoch - 1], epoch)
            if epoch < len(curve) and (judge_again(study, trial) if again else trial.should_prune()):
                break
        ended.append(epoch)
        study.tell(trial, max(curve[:epoch]) if epoch == len(curve) else None,
                   TrialState.COMPLETE if epoch == len(curve) else TrialState.PRUNED)  # fmt: skip
    return ended


CURVES = st.lists(st.lists(st.integers(0, 6).map(lambda v: v / 8), min_size=10, max_size=10), min_size=2, max_size=12)


@pytest.mark.parametrize("pruner", ["asha", "hyperband", "median"])
@settings(max_examples=80)
@given(curves=CURVES, data=st.data())
def test_a_verdict_that_was_lost_is_given_again(pruner: Any, curves: Curves, data: st.DataObject) -> None:
    """A process that dies between the pruner's word and the trial's end changes nothing of the study."""
    space = SearchSpace({"width": Range(8, 64), "epochs": Range(9, 10)})
    spec = make_spec(pruner=pruner, space=space, sampler="random")
    whole = ends(spec, curves)
    number = data.draw(st.integers(0, len(curves) - 1))
    epoch = data.draw(st.sampled_from([epoch for epoch in (1, 2, 3, 9) if epoch <= whole[number]]))
    lost_at = (number, epoch)
    assert ends(spec, curves, lost_at) == whole


class TestPruners:
    def test_asha_stops_the_worse_of_three_at_each_rung(self) -> None:
        good, bad = [0.9] * 10, [0.1] * 10
        assert ends(make_spec(pruner="asha"), [good, bad, good, bad]) == [10, 1, 10, 1]

    def test_asha_compares_trials_that_are_equally_far_in_their_own_epochs(self) -> None:
        """A decaying rate lets the short one look good early, and the long one would be out at epoch 1."""
        study = optuna.create_study(direction="maximize", pruner=make_pruner(make_spec(pruner="asha")))

        def run(n_epochs: int, level: float) -> int:
            trial = study.ask()
            trial.suggest_int("epochs", n_epochs, n_epochs)
            for epoch in range(1, n_epochs + 1):
                trial.report(level * epoch / n_epochs, epoch)
                if epoch < n_epochs and trial.should_prune():
                    break
            return epoch

        assert [run(27, 0.8), run(54, 0.9), run(54, 0.7)] == [27, 54, 2]

    def test_hyperband_knows_the_most_epochs_there_can_be(self) -> None:
        """Left to itself it would learn them from the first trial, which may be a short one."""
        space = SearchSpace({"width": Range(8, 64), "epochs": Range(3, 81)})
        pruner = make_pruner(make_spec(pruner="hyperband", space=space))
        study = optuna.create_study(pruner=pruner)
        trial = study.ask()
        trial.report(0.1, 1)
        trial.should_prune()
        assert pruner._n_brackets == 5  # 1, 3, 9, 27, 81

    def test_hyperband_judges_equal_studies_alike_whatever_their_names(self) -> None:
        """Optuna's own puts a trial into a bracket by the name of its study too."""
        space = SearchSpace({"width": Range(8, 64), "epochs": Range(3, 27)})
        curves = [[0.1 * (number % 7)] * 27 for number in range(20)]
        ended = [ends(make_spec(pruner="hyperband", space=space, name=name), curves) for name in ("a", "b", "c")]
        assert ended[0] == ended[1] == ended[2]
        assert min(ended[0]) < 27

    def test_none_never_stops(self) -> None:
        assert ends(make_spec(pruner="none"), [[0.9] * 10] * 5 + [[0.0] * 10] * 5) == [10] * 10

    def test_median_stops_what_is_below_the_others(self) -> None:
        assert ends(make_spec(pruner="median"), [[0.9] * 10] * 6 + [[0.1] * 10])[-1] < 10
