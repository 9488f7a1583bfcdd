"""What holds for processes of this machine only; ``test_pools.py`` has the contract of every pool."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pytest
import tensorflow as tf
from pool_driver import (
    GPU,
    HP,
    LONG,
    PATIENCE_S,
    Driver,
    ends,
    figures,
    forked,
    in_shared_memory,
    spawned,
    workers_of,
)
from waiting import wait_for

from pipelines.data.datasets import Dataset
from pipelines.errors import UnavailableError
from search.devices.slots import Slot
from search.workers.local_pool import LocalPool
from search.workers.pool import Event, Gone, Lost, Reported
from search.workers.shared_dataset import folder_for
from search.workers.tasks import Task
from search.workers.trainer import is_out_of_memory

pytestmark = pytest.mark.usefixtures("fake_gpu")


@pytest.fixture
def forked_pool(digits: Dataset) -> Iterator[LocalPool]:
    pool = forked(digits, 1)
    yield pool
    pool.close()


class TestProcesses:
    def test_a_worker_that_the_system_kills_is_lost_with_its_signal(self, forked_pool: LocalPool) -> None:
        def kill_at_second(event: Event) -> None:
            if isinstance(event, Reported) and event.report.epoch == 2:
                workers_of(forked_pool)[0].kill()

        end = ends(Driver(forked_pool).run([Task(1, LONG, 0)], seen=kill_at_second))[0]
        assert isinstance(end, Lost)
        assert end.message == "the process of cpu:0 died (killed by SIGKILL)"

    def test_a_process_that_the_system_does_not_start_is_one_line(self, forked_pool: LocalPool) -> None:
        Driver(forked_pool).wait_ready()
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        workers_of(forked_pool)[0].kill()
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
            with pytest.raises(UnavailableError, match=r"^cpu:0: the system must start .* Too many open files"):
                forked_pool.poll(PATIENCE_S)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    def test_a_worker_that_has_grown_is_replaced_between_trials(self, digits: Dataset) -> None:
        pool = LocalPool(digits, [Slot(0, "cpu:0")], memory_mb=1)
        driver = Driver(pool)
        pids, outcomes = [], []
        try:
            for number in range(3):
                driver.wait_ready()
                pids += [process.pid for process in workers_of(pool)]
                outcomes.append(driver.outcome(Task(number, HP, 0)))
        finally:
            pool.close()
        assert len(set(pids)) == 3
        assert figures(outcomes[0]) == figures(outcomes[2])

    def test_a_worker_that_has_not_grown_stays(self, forked_pool: LocalPool) -> None:
        driver = Driver(forked_pool)
        driver.wait_ready()
        before = workers_of(forked_pool)
        for number in range(3):
            driver.outcome(Task(number, HP, 0))
        assert workers_of(forked_pool) == before

    def test_rows_are_held_once_for_all_processes(self, digits: Dataset) -> None:
        """Two more workers on 64 MB of rows cost less than one more copy of them."""
        rows = np.random.default_rng(0).integers(0, 255, (80_000, 800), np.uint8)
        y = (np.arange(80_000) % 3).astype(np.int32)
        preprocessing = replace(digits.preprocessing, input_shape=(800,), class_names=("a", "b", "c"))
        training = replace(digits.training, x=rows, y=y)
        validation = replace(digits.validation, x=rows[:100], y=y[:100])
        dataset = replace(digits, training=training, validation=validation, preprocessing=preprocessing)
        pool = forked(dataset, 2)
        try:
            Driver(pool).wait_ready()
            private_mb = [process.memory_full_info().uss / 1e6 for process in workers_of(pool)]
        finally:
            pool.close()
        assert max(private_mb) < 64 + 40, private_mb

    def test_rows_that_shared_memory_has_no_room_for_lie_in_a_file(self) -> None:
        """A container has 64 MB of shared memory by default."""
        assert folder_for(1000) == Path("/dev/shm")
        assert folder_for(shutil.disk_usage("/dev/shm").total + 1) == Path(tempfile.gettempdir())

    def test_no_room_for_the_rows_anywhere_is_one_line(self) -> None:
        """A limit on the size of a file stands for memory and a disk that are full."""
        program = """
            import resource
            from pipelines.config import DataConfig
            from pipelines.data.loading import load
            from pipelines.errors import UnavailableError
            from search.workers.shared_dataset import SharedDataset
            dataset = load(DataConfig("digits"))
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            try:
                SharedDataset(dataset)
            except UnavailableError as error:
                print(error)
        """
        command = [sys.executable, "-c", textwrap.dedent(program)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=True)
        assert re.fullmatch(
            r"/dev/shm: must have room for the 1 MB of digits, got File too large: .+", done.stdout.strip()
        )

    def test_a_worker_that_never_starts_is_an_error_after_a_few_attempts(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
    ) -> None:
        """A TensorFlow that ends the process that imports it, as a wrong build does."""
        (tmp_path / "tensorflow.py").write_text("import os\nos._exit(3)\n")
        monkeypatch.syspath_prepend(tmp_path)
        pool = spawned(digits, 1)
        try:
            with pytest.raises(UnavailableError, match=r"^the process of gpu:0 died \(exit code 3\) before it could"):
                Driver(pool).wait_ready()
        finally:
            pool.close()


def test_a_slot_whose_processes_never_start_is_removed_and_the_others_train(digits: Dataset) -> None:
    """For example the slot of a GPU that has fallen off its bus."""
    pool = forked(digits, 2)
    try:
        driver = Driver(pool)
        driver.wait_ready()
        healthy, doomed = pool.slots
        events = list[Event]()
        while doomed in pool.slots:
            pool.kill(doomed)
            events += pool.poll(1.0)
        assert isinstance(events[-1], Gone)
        assert events[-1].slot == doomed
        driver.free = [healthy]
        assert len(driver.outcome(Task(0, HP, 0)).history) == HP.epochs
    finally:
        pool.close()


SCRIPT = """
    import multiprocessing
    import sys
    from pipelines.config import DataConfig, Hyperparameters
    from pipelines.data.loading import load
    from search.devices.slots import Slot
    from search.workers.local_pool import LocalPool
    from search.workers.pool import Finished, Ready, Reported
    from search.workers.tasks import Task

    print("script starts", flush=True)
    slot = Slot(0, "cpu:0", sys.argv[1])
    pool = LocalPool(load(DataConfig("digits")), [slot])
    tasks = [Task(n, Hyperparameters(width=64, depth=1, epochs=epochs), 0) for n, epochs in enumerate((2, 10**6))]
    while True:
        for event in pool.poll(60):
            if isinstance(event, Ready):
                pool.submit(slot, tasks.pop(0))
            elif isinstance(event, Reported):
                pool.answer(slot, event.report.epoch, None)
                if event.number == 1 and event.report.epoch == 1:
                    print("worker", multiprocessing.active_children()[0].pid, flush=True)
            elif isinstance(event, Finished):
                print("trained", len(event.outcome.history), flush=True)
"""


def shared_files() -> set[tuple[str, str]]:
    """The files of shared memory that this process has open: number and path."""
    found = set()
    for number in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # that of the folder itself is closed by now
            found.add((number.name, str(number.readlink())))
    return {(number, path) for number, path in found if path.startswith("/dev/shm/")}


def test_other_processes_of_the_server_end_when_they_are_asked_to(forked_pool: LocalPool) -> None:
    """A worker ignores SIGTERM, as a signal to the whole process group must leave it in training."""
    assert forked_pool.poll(PATIENCE_S), "it is ready"
    [worker] = multiprocessing.active_children()
    worker.terminate()
    context = multiprocessing.get_context("forkserver")
    waiting = context.Barrier(2)
    other = context.Process(target=waiting.wait)
    other.start()
    wait_for(lambda: waiting.n_waiting, "the process to begin")
    other.terminate()
    other.join(PATIENCE_S)
    assert other.exitcode == -signal.SIGTERM
    assert worker.is_alive()


def test_a_closed_pool_holds_no_rows(digits: Dataset) -> None:
    """A notebook that searches again and again must not hold the rows of each search."""
    before = shared_files()
    pool = forked(digits, 1)
    assert shared_files() - before, "the rows lie in shared memory"
    pool.close()
    assert not shared_files() - before


@pytest.mark.parametrize("visible_devices", ["", GPU.uuid], ids=["forked", "spawned"])
def test_a_script_without_a_main_guard_that_is_killed_leaves_nothing(tmp_path: Path, visible_devices: str) -> None:
    script = tmp_path / "search_all.py"
    script.write_text(textwrap.dedent(SCRIPT))
    process = subprocess.Popen([sys.executable, script, visible_devices], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout
        lines = [process.stdout.readline() for _ in range(3)]
        assert lines[:2] == ["script starts\n", "trained 2\n"], "the script must run once, not once more in each worker"
        worker = psutil.Process(int(re.fullmatch(r"worker (\d+)\n", lines[2])[1]))  # type: ignore[index]
        family = psutil.Process(process.pid).children(recursive=True)
        assert worker in family
        shared = in_shared_memory([worker])
        assert shared, "the rows lie in shared memory"
        os.kill(process.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
        assert not alive, f"still there after the searching process was killed: {alive}"
        assert not [path for path in shared if path.exists()]
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor"), True),
        (tf.errors.InternalError(None, None, "Failed copying input tensor: Dst tensor is not initialized."), True),
        (tf.errors.InternalError(None, None, "Blas GEMM launch failed"), False),
        (ValueError("Dst tensor is not initialized."), False),
    ],
)
def test_both_errors_of_a_full_gpu_are_known(error: Exception, expected: bool) -> None:
    """The second is what an H100 raised for a tensor that did not fit in the process's share."""
    assert is_out_of_memory(error) == expected


def test_a_process_is_not_replaced_because_of_the_rows_that_it_maps(digits: Dataset) -> None:
    """They are in the memory of each process, and once in that of the machine."""
    task = Task(0, replace(HP, epochs=1, batch_size=1 << 16), 0)
    many = replace(digits, training=digits.training.at(np.arange(3_000_000) % len(digits.training.y)))  # 200 MB
    with contextlib.closing(LocalPool(digits, [Slot(0, "cpu:0")])) as pool:
        own_mb = Driver(pool).outcome(task).memory_mb
    found = []
    for memory_mb in (own_mb - 300, own_mb + 100):
        with contextlib.closing(LocalPool(many, [Slot(0, "cpu:0")], memory_mb=memory_mb)) as pool:
            driver = Driver(pool)
            driver.wait_ready()
            before = workers_of(pool)
            assert driver.outcome(task).memory_mb > own_mb + 100
            driver.wait_ready()
            found.append(workers_of(pool) == before)
    assert found == [False, True]
