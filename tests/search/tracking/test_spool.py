"""A spool entry is on disk completely or not at all, whatever happens while it is written."""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from reports import report_of
from waiting import PATIENCE_S

from pipelines.errors import UnavailableError
from search.tracking.entries import CHECKPOINT_FILE, MODEL_FILE, Entry, Epoch, RunStart
from search.tracking.spool import artifacts, entries, read_entry, remove_entry, write_entry

FILES = {MODEL_FILE: b"weights" * 1000, CHECKPOINT_FILE: b"", "traceback.txt": b"none"}


def entry(number: int = 7, study: str = "s", value: float | None = 0.5) -> Entry:
    start = RunStart(study, f"trial-{number:04d}", 1_700_000_000_000, {"width": 8, "dropout": 0.1}, {"study": study})
    history = tuple(Epoch(step, 1_700_000_000_000 + step, {"loss": 1 / step}) for step in (1, 2, 3))
    return Entry(
        start, 1_700_000_001_000, "COMPLETE", value, {"best_epoch": 3}, history, {"x": 1.0}, {"t": "v"}, number
    )


def test_an_entry_is_read_as_it_was_written(tmp_path: Path) -> None:
    folder = write_entry(tmp_path, entry(), FILES)
    assert read_entry(folder) == entry()
    assert {path.name: path.read_bytes() for path in artifacts(folder)} == {
        MODEL_FILE: FILES[MODEL_FILE],
        "traceback.txt": b"none",
    }, "an empty file is left out"


@given(
    study=st.text(min_size=1, max_size=200).filter(lambda text: text.isprintable()),
    value=st.one_of(st.none(), st.floats(0, 1)),
)
def test_every_name_of_a_study_has_a_folder_of_its_own(
    tmp_path_factory: pytest.TempPathFactory, study: str, value: float | None
) -> None:
    spool = tmp_path_factory.mktemp("spool")
    written = write_entry(spool, entry(study=study, value=value), {})
    write_entry(spool, entry(study=study + "2"), {})
    assert list(entries(spool, study)) == [written]
    assert read_entry(written) == entry(study=study, value=value)


def test_entries_are_a_study_s_own_the_oldest_first(tmp_path: Path) -> None:
    written = [write_entry(tmp_path, entry(number), FILES) for number in (12, 3, 101)]
    write_entry(tmp_path, entry(1, study="another"), FILES)
    assert list(entries(tmp_path, "s")) == [written[1], written[0], written[2]]
    remove_entry(written[1])
    assert list(entries(tmp_path, "s")) == [written[0], written[2]]
    assert list(entries(tmp_path, "never")) == []


def test_a_later_entry_of_the_same_run_replaces_the_first(tmp_path: Path) -> None:
    write_entry(tmp_path, entry(value=0.1), FILES)
    folder = write_entry(tmp_path, entry(value=0.9), {})
    assert read_entry(folder).value == 0.9
    assert artifacts(folder) == []
    assert list(entries(tmp_path, "s")) == [folder]


def test_an_epoch_of_a_report_has_the_metrics_that_are_logged() -> None:
    epoch = Epoch.of(report_of(4, 0.5, 0.8, 0.6, 0.7))
    assert epoch.step == 4
    assert epoch.metrics == {"loss": 0.5, "accuracy": 0.8, "val_loss": 0.6, "val_accuracy": 0.7}
    assert abs(epoch.at_ms - time.time() * 1000) < 1000 * PATIENCE_S


def die_at(spool: Path, call: str, times: int) -> None:
    """Writes an entry, and kills the process at the ``times``-th call of a function of ``os``."""
    original, calls = getattr(os, call), []

    def killing(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == times:
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*given, **named)

    setattr(os, call, killing)
    write_entry(spool, entry(value=0.9), FILES)
    os._exit(0)


@pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
@pytest.mark.parametrize(
    ("call", "times"), [("mkdir", 1), ("fsync", 1), ("fsync", 2), ("fsync", 4), ("rename", 1), ("fsync", 5)]
)
def test_an_entry_is_whole_or_absent_when_the_process_is_killed(
    tmp_path: Path, call: str, times: int, before: bool
) -> None:
    if before:
        write_entry(tmp_path, entry(value=0.1), FILES)
    process = multiprocessing.get_context("fork").Process(target=die_at, args=(tmp_path, call, times))
    process.start()
    process.join()
    for folder in entries(tmp_path, "s"):
        found = read_entry(folder)
        assert found in (entry(value=0.9), entry(value=0.1))
        assert (folder / MODEL_FILE).read_bytes() == FILES[MODEL_FILE]
    folder = write_entry(tmp_path, entry(value=0.5), FILES)
    assert list(entries(tmp_path, "s")) == [folder], "the killed attempt left nothing that interferes"
    assert read_entry(folder) == entry(value=0.5)


def die_removing(folder: Path) -> None:
    """Deletes an entry, and kills the process at its first file."""
    os.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[assignment]
    remove_entry(folder)


def test_an_entry_is_absent_when_the_process_is_killed_while_it_deletes_it(tmp_path: Path) -> None:
    """Delivered again without its model, it would replace the run that has it."""
    folder = write_entry(tmp_path, entry(value=0.9), FILES)
    process = multiprocessing.get_context("fork").Process(target=die_removing, args=(folder,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    assert list(entries(tmp_path, "s")) == []
    remove_entry(write_entry(tmp_path, entry(value=0.5), FILES))
    assert not list(folder.parent.iterdir())


def test_the_kills_above_happen_while_writing(tmp_path: Path) -> None:
    """Each place of the test above is reached; there is no sixth ``fsync``."""
    for call, times, code in (("fsync", 5, -signal.SIGKILL), ("rename", 1, -signal.SIGKILL), ("fsync", 6, 0)):
        process = multiprocessing.get_context("fork").Process(target=die_at, args=(tmp_path, call, times))
        process.start()
        process.join()
        assert process.exitcode == code


def test_files_and_their_names_are_on_disk_before_the_rename_and_the_folder_s_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut keeps what was synced; the test records the calls of ``os``."""
    order: list[str] = []
    fsync, rename = os.fsync, os.rename

    def note_fsync(descriptor: int) -> None:
        order.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def note_rename(*given: Any, **named: Any) -> None:
        order.append("rename")
        rename(*given, **named)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    folder = write_entry(tmp_path, entry(), FILES)
    done = order.index("rename")
    assert sorted(order[:done]) == sorted([MODEL_FILE, "traceback.txt", "entry.json", folder.name + ".tmp"])
    assert order[done + 1 :] == [folder.parent.name]


def test_a_full_disk_is_one_message_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk."""
    limit, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limit[1]))
    try:
        with pytest.raises(UnavailableError) as caught:
            write_entry(tmp_path, entry(), FILES)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, handler)
    assert str(caught.value) == f"spool {tmp_path}: must take a finished trial, got {os.strerror(errno.EFBIG)}"
    assert list(entries(tmp_path, "s")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
