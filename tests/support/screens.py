"""The screens of the commands, made from fixed data by the functions that draw them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime

import numpy as np
from reports import report_of
from rich.console import Console, RenderableType

from pipelines.config import DataConfig, Hyperparameters
from pipelines.data.description import describe
from pipelines.evaluation.metrics import evaluate
from pipelines.objectives import OBJECTIVES
from search.cli import tables
from search.cli.commands.finals import evaluation_tables, verdict_tables
from search.cli.commands.models import promotion_lines
from search.cli.commands.studies import explanation_lines
from search.cli.commands.upkeep import diagnosis_lines
from search.doctor import Finding
from search.finals.finalist import Candidate, Finalist
from search.finals.readings import SealedResult
from search.finals.result import FinalistsResult
from search.finals.selection import judge
from search.finals.winner import Winner
from search.optimization.explanations import Explanation
from search.optimization.leaderboard import TrialRow
from search.registry.promotion import Promotion
from search.reporting import display
from search.reporting.comparison import side_by_side
from search.reporting.live.view import LiveView
from search.reporting.screen import print_all
from search.reporting.trial_table import leaderboard_table
from search.scheduling.progress import Progress, SlotView
from search.spec.reading import default_spec
from search.spec.study_spec import StudySpec
from search.training.forecast import Forecast

SCREENS = (
    "compare", "datasets", "doctor", "evaluate", "finalists", "plan", "promote", "run", "show", "strong",
    "strong-tables", "trials",
)  # fmt: skip


def drawn(renderables: Sequence[RenderableType], width: int) -> str:
    """What a screen of ``width`` columns shows, without colors."""
    paper = io.StringIO()
    plain = {"markup": False, "emoji": False, "highlight": False, "color_system": None}
    print_all(Console(file=paper, width=width, **plain), renderables)
    return paper.getvalue()


def screen(name: str) -> list[RenderableType]:
    """The screen of a command."""
    return {
        "compare": lambda: [side_by_side(ROWS[:3])],
        "datasets": lambda: [*tables.description_tables(describe(DataConfig("digits")))],
        "doctor": lambda: [*diagnosis_lines(_findings(), repair=False)],
        "evaluate": lambda: evaluation_tables(_sealed(), "digits"),
        "finalists": _finalists,
        "plan": lambda: [*tables.forecast_tables(_classic(), FORECAST)],
        "promote": lambda: promotion_lines(PROMOTION, "champion"),
        "run": lambda: [LiveView(_progress(), 192.0, 580.0, datetime(2026, 1, 30, 14, 22))],
        "show": lambda: [*explanation_lines(EXPLANATION)],
        "strong": lambda: [leaderboard_table(STRONG, "study mnist", 64)],
        "strong-tables": lambda: [leaderboard_table(TABLES, "study churn", 64)],
        "trials": lambda: [leaderboard_table(ROWS, "study digits", 64), *display.baseline(ROWS)],
    }[name]()


def row(number: int, state: str, value: float | None, **changes: object) -> TrialRow:
    """A trial of a classification of digits."""
    given = {"width": 256, "depth": 2, "dropout": 0.2, "optimizer": "adam", "learning_rate": 0.0015}
    given |= {"schedule": "cosine", "epochs": 20, "batch_size": 128, **changes.pop("params", {})}
    known = {"best_epoch": 12, "epochs_trained": 20, "duration_s": 9.4, "device": "cpu:0", "run_id": "0" * 32}
    baselines = {"majority": {"accuracy": 0.1015}, "linear": {"accuracy": 0.9531}}
    fixed = {"majority": 0.1015, "baselines": baselines, "stop_reason": "finished"}
    return TrialRow(number, state, value, given, **{**known, **fixed, **changes})


ROWS = [
    row(17, "COMPLETE", 0.9875, params={"width": 512, "learning_rate": 0.00234}),
    row(0, "COMPLETE", 0.9844, is_start=True, params={"depth": 3, "optimizer": "rmsprop", "schedule": "constant"}),
    row(41, "COMPLETE", 0.9831, stop_reason="timeout", epochs_trained=14, duration_s=125.0, device="gpu:1"),
    row(3, "PRUNED", 0.9122, stop_reason="pruned", best_epoch=2, epochs_trained=2, params={"batch_size": 1024}),
    row(8, "PRUNED", 0.1093, stop_reason="pruned", best_epoch=1, epochs_trained=2, params={"dropout": 0.55}),
    row(9, "FAIL", None, stop_reason="failed", best_epoch=None, epochs_trained=0, params={"width": 4096}),
    row(63, "RUNNING", 0.9796, stop_reason=None, best_epoch=None, epochs_trained=7, duration_s=None, device=None),
]


def strong(number: int, state: str, value: float | None, *values: object, **changes: object) -> TrialRow:
    """A trial of the strong preset; ``values`` are those of its dimensions in their order."""
    names = [*default_spec("digits", preset="strong").space.dimensions, "embedding"]
    return row(number, state, value, params=dict(zip(names, values, strict=False)), **changes)


def _strong_rows(*embeddings: str) -> list[TrialRow]:
    rich = [
        (1024, 4, 0.325, "adamw", 0.00234, "onecycle", 60, 128, "selu", "batch", 0.00123, 0.0567, 0.99),
        (512, 2, 0.2, "adamw", 0.002, "onecycle", 15, 256, "relu", "batch", 0.01, 0.05, 0.0),
        (73, 1, 0.011, "adam", 0.000412, "cosine", 48, 32, "silu", "none", 0.000104, 0.0, 0.99),
        (698, 3, 0.4871, "adam", 0.00951, "cosine", 22, 64, "selu", "none", 0.0713, 0.0912, 0.0),
    ]
    chosen = [(*values, *embeddings[index : index + 1]) for index, values in enumerate(rich)]
    return [
        strong(17, "COMPLETE", 0.9875, *chosen[0], epochs_trained=60, duration_s=725.0),
        strong(0, "COMPLETE", 0.9844, *chosen[1], is_start=True, epochs_trained=15, duration_s=125.0),
        strong(41, "COMPLETE", 0.9831, *chosen[2], stop_reason="timeout", epochs_trained=31, duration_s=61.0),
        strong(3, "PRUNED", 0.9122, *chosen[3], stop_reason="pruned", best_epoch=2, epochs_trained=2),
    ]


STRONG = _strong_rows()
TABLES = _strong_rows("piecewise", "none", "none", "piecewise")
EXPLANATION = Explanation(
    ROWS[0],
    "Trial 17 reached validation accuracy 0.9875 at epoch 12 of 20, rank 1 of the 3 complete trials: 0.0031 better than"
    " the next, trial 0. Always predicting the most frequent class has accuracy 0.1015; a linear model 0.9531.",
)
FORECAST = Forecast(
    configurations_per_hour=1240.4,
    unpruned_per_hour=702.0,
    forecast_s=186.0,
    forecast_low_s=121.0,
    forecast_high_s=232.0,
    trials_low=64,
    trials_high=64,
    memory_mb=2150,
    slots=2,
    devices=("cpu:0", "cpu:1"),
    precision="by_size",
    bfloat16_share=0.61,
)
PROMOTION = Promotion(
    model="digits",
    promoted=True,
    reason="it is better than the champion, version 3, on the same 360 test rows: accuracy 0.9889 against 0.9611"
    " (exact McNemar test, p = 0.00195, below 0.0250, the share of 0.05 for the 2nd model tested on these rows)",
    version=4,
    test_accuracy=0.9889,
    champion_accuracy=0.9611,
    p_value=0.00195,
)


def _findings() -> list[Finding]:
    def nothing() -> None:
        """No repair is made here."""

    run = "digits: trial-0017"
    what = "cannot restore it, the home has no copy: records that in the tag lost.model.h5"
    return [
        Finding("missing model.h5", run, what, nothing),
        Finding("history with gaps", run, "logs the 2 values that Optuna has; records as lost: nothing", nothing),
    ]


def _progress() -> Progress:
    """A search in the middle: a running trial is the best so far."""
    made = Progress("digits", budget=64, complete=9, pruned=2, failed=1)
    made.best_number, made.best_value, made.best_params = 4, 0.9788, ROWS[2].params
    first = Hyperparameters(width=512, learning_rate=0.00234, schedule="cosine")
    made.slots = {
        0: SlotView("cpu:0", "trial-0012", first),
        1: SlotView("cpu:1", "trial-0013", Hyperparameters(width=1024, depth=4, optimizer="rmsprop", epochs=40)),
        2: SlotView("gpu:0"),
    }
    for slot, epoch, value in ((0, 6, 0.9812), (0, 7, 0.9796), (1, 2, 0.9312)):
        made.report(slot, report_of(epoch, 0.5, 0.9, 0.4, value))
    return made


def _candidate(number: int, value: float, n_parameters: int, **changes: object) -> Candidate:
    given = {"width": 256, "learning_rate": 0.00234, "schedule": "cosine", **changes}
    return Candidate(number, Hyperparameters(**given), value, n_parameters)


def _finalists() -> list[RenderableType]:
    seeds = (1, 2, 3)

    def finalist(candidate: Candidate, *values: float) -> Finalist:
        n = len(values)
        return Finalist(candidate, seeds[:n], values, (9, 11, 12)[:n], ("r",) * n, 3, n_rows=288)

    verdict = judge(
        [
            finalist(_candidate(17, 0.9875, 302_602, width=512), 0.9861, 0.9826, 0.9844),
            finalist(_candidate(0, 0.9844, 85_002, depth=3), 0.9792, 0.9809, 0.9757),
            finalist(_candidate(41, 0.9831, 85_002), 0.9514),
        ]
    )
    baselines = {"majority": {"accuracy": 0.1015}, "linear": {"accuracy": 0.9531}}
    result = FinalistsResult("digits", verdict, None, 0, interrupted=False, majority=0.1015, baselines=baselines)
    return verdict_tables(result, verdict, "finalists of study digits, 3 seeds each")


def _classic() -> StudySpec:
    return default_spec("digits", preset="classic", trials=64, timeout_s=1800)


def _sealed() -> SealedResult:
    n_rows, names = 360, [str(digit) for digit in range(10)]
    labels = np.arange(n_rows) % 10
    answers = np.where(np.arange(n_rows) % 45 == 7, (labels + 1) % 10, labels)
    probabilities = np.full((n_rows, 10), 0.01)
    probabilities[np.arange(n_rows), answers] = 0.91
    candidate = _candidate(17, 0.9875, 302_602, width=512)
    objective = OBJECTIVES["val_accuracy"]
    winner = Winner(candidate, "finalist", "finalist-0017-seed-3", "0" * 32, 3, (1, 2, 3), "", 0.9844, objective)
    baselines = {"majority": {"accuracy": 0.1}, "linear": {"accuracy": 0.9528}}
    evaluation = evaluate(probabilities, labels, names)
    return SealedResult(winner, evaluation, 0.0972, 1, "", 2, 0.1, baselines)
