"""Runs promotions at the same time, each in its own process: ``python at_once.py HOME MODEL STUDY…``.

The processes are forked from one that has only imported what a promotion needs, so that many promotions
start MLflow once. Prints the answers as JSON.
"""

from __future__ import annotations

import gc
import json
import multiprocessing
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing.synchronize import Barrier
from pathlib import Path

from command_line import Answer, call
from waiting import PATIENCE_S

_IMPORTS = (
    "search.registry.promotion", "search.reporting.display", "optuna.storages", "alembic.command", "sklearn.datasets",
    "sklearn.model_selection", "mlflow.pyfunc.model", "mlflow.store.tracking.sqlalchemy_store",
    "mlflow.store.model_registry.sqlalchemy_store",
)  # fmt: skip


def promote_at_once(home: Path, model: str, studies: Sequence[str]) -> list[Answer]:
    """The answers of ``mlp-search promote --json`` for each study, all called at once."""
    command = [sys.executable, __file__, str(home), model, *studies]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=PATIENCE_S, check=True)
    return [Answer(*answer) for answer in json.loads(done.stdout)]


def _begin(barrier: Barrier) -> None:
    barrier.wait()


def _promote(home: str, model: str, study: str) -> tuple[int, str, str]:
    answer = call("promote", study, "--model", model, "--json", "--home", home)
    return answer.code, answer.out, answer.err


def _main(home: str, model: str, *studies: str) -> None:
    for module in _IMPORTS:
        import_module(module)
    assert threading.active_count() == 1, "a fork copies one thread"
    gc.freeze()  # else each process would copy the imported modules to collect their garbage
    context, n = multiprocessing.get_context("fork"), len(studies)
    with ProcessPoolExecutor(n, context, initializer=_begin, initargs=(context.Barrier(n),)) as pool:
        print(json.dumps(list(pool.map(_promote, [home] * n, [model] * n, studies))))


if __name__ == "__main__":
    _main(*sys.argv[1:])
