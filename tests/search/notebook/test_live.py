"""The table that a notebook shows while a search trains."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from reports import report_of

import search
from pipelines.config import Hyperparameters
from pipelines.errors import NotFoundError
from search.notebook.live import NotebookTable, notebook_observer, progress_html
from search.scheduling.progress import Observer, Progress, SlotView


class Shown:
    """An output that keeps what it was given."""

    def __init__(self) -> None:
        self.pages: list[str] = []

    def update(self, shown: object) -> None:
        self.pages.append(str(shown))


def progress_at(epoch: int) -> Progress:
    progress = Progress("<digits>", budget=4, complete=1)
    progress.slots[0] = SlotView("cpu:0", "trial-0001", Hyperparameters(width=64, depth=2, epochs=10))
    progress.slots[1] = SlotView("cpu:1")
    progress.report(0, report_of(epoch, 0.1, 0.9, 0.2, 0.87))
    return progress


def test_it_shows_the_slots_the_budget_and_the_best_so_far() -> None:
    html = progress_html(progress_at(5), 12.0, 30.0, notes=["a <note>"])
    for text in ("&lt;digits&gt;", "1 of 4 trials", "5/10", "0.8700", "64x2", "idle", "about 30 s left", "best so far"):
        assert text in html, text
    assert "<digits>" not in html
    assert "a &lt;note&gt;" in html


def test_it_is_written_again_and_ends_without_slots() -> None:
    shown = Shown()
    table = NotebookTable(shown.pages.append)
    table.waiting("reading digits")
    table.update(progress_at(1))
    table.update(progress_at(2))
    assert len(shown.pages) == 2, "not at every look"
    assert "reading digits" in shown.pages[0]
    assert "1/10" in shown.pages[1]
    table.note("done")
    table.end()
    assert "cpu:0" not in shown.pages[-1]
    assert "done" in shown.pages[-1]


def test_it_appears_in_a_kernel_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "IPython", raising=False)
    assert notebook_observer() is None
    for shell in (None, SimpleNamespace(), SimpleNamespace(kernel=None)):  # a plain program, IPython in a terminal
        monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda shell=shell: shell))
        assert notebook_observer() is None


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """The output of a cell in a notebook's kernel."""
    cell = Shown()
    shell = SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    display = SimpleNamespace(HTML=str, display=lambda shown, *, display_id: cell)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    return cell


WATCHED = {"run_study", "run_finalists", "run_automatically", "train_once", "continue_training", "follow", "evaluate"}


def test_every_function_that_takes_an_observer_shows_its_progress(cell: Shown) -> None:
    functions = {name: getattr(search, name) for name in dir(search) if name[0].islower()}
    watched = {name for name, function in functions.items() if "observer" in inspect.signature(function).parameters}
    assert watched == WATCHED
    assert {name for name, function in functions.items() if hasattr(function, "__wrapped__")} == WATCHED


def test_the_progress_ends_with_the_call_even_in_an_error(cell: Shown, contenders: Path) -> None:
    for function in (search.run_finalists, search.follow):
        with pytest.raises(NotFoundError):
            function("nobody", home=contenders)
        assert "nothing was trained" in cell.pages[-1]
        cell.pages.clear()
        with pytest.raises(NotFoundError):
            function("nobody", home=contenders, observer=Observer())
        assert not cell.pages


def test_a_held_out_test_says_nothing_of_trainings(cell: Shown, contenders: Path) -> None:
    with pytest.raises(NotFoundError):
        search.evaluate("nobody", home=contenders)
    assert "elapsed" in cell.pages[-1]
    assert "trained" not in cell.pages[-1]


def test_a_single_training_speaks_of_itself() -> None:
    progress = Progress("train-digits", budget=1, runs="trainings")
    progress.slots[0] = SlotView("cpu:0", "train-1", Hyperparameters(width=64, depth=2, epochs=10))
    progress.report(0, report_of(5, 0.1, 0.9, 0.2, 0.87))
    html = progress_html(progress, 1.0, None)
    assert "trainings of train-digits: 0 of 1 runs" in html
    assert "<th>training</th>" in html
    progress.count("COMPLETE", None, None, {}, "train-1")
    assert "best so far: 0.8700  train-1, complete" in progress_html(progress, 1.0, None, ended=True)


def test_notes_that_are_left_out_are_counted() -> None:
    shown = Shown()
    table = NotebookTable(shown.pages.append)
    for number in range(7):
        table.note(f"note {number}")
    table.end()
    assert "2 earlier lines are not shown" in shown.pages[-1]
    assert "note 1" not in shown.pages[-1]
    assert "note 2" in shown.pages[-1]


def test_a_search_of_another_process_has_its_own_time() -> None:
    shown = Shown()
    progress = progress_at(1)
    progress.elapsed_s = 125.0
    NotebookTable(shown.pages.append).update(progress)
    assert "2:05 min elapsed" in shown.pages[-1]
