"""The table that a notebook shows while a search trains."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from reports import report_of

from pipelines.config import Hyperparameters
from search.notebook.live import NotebookTable, notebook_observer, progress_html
from search.scheduling.progress import Progress, SlotView


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
    table = NotebookTable(shown, str)
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
