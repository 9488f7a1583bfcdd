"""Each line of the documents' ``sh`` blocks runs, with small budgets, or stands here with the reason why not."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import call
from documents import PAGES, ROOT, lines
from finished import run_small
from ready_home import copy_home

from search.registry.promotion import promote
from search.removal import rename_study

NOT_RUN = {
    "a package is installed": ("pip install ", "uv pip ", "echo "),
    "containers, tested by tests/compose": ("docker-compose ", "cp .env.example", "mkdir -p data"),
    "a cluster of Ray, tested by tests/search/workers": ("ray ", "RAY_ADDRESS=", "mlp-search run digits --pool ray"),
    "databases of a team, tested by tests/search/operations and tests/faults": (
        "export ", "mlp-search migrate", "mlp-search run wine.toml --trials 200", "mlp-search follow wine",
    ),
    "minutes of training, tested by tests/search/automatic": (
        "mlp-search run mnist --auto", "mlp-search run churn.csv --target churn --auto",
    ),
    "the newcomer types it": ("mlp-search run digits --trials 12",),
    "a server of models, tested by tests/search/registry/test_predict.py": ("mlflow models serve", "curl "),
    "minutes of measurement": ("python benchmarks/",),
}  # fmt: skip
"""Reasons, and how the lines begin."""
SMALL = {
    "run": ("--trials", "1"), "train": ("--epochs", "1"), "finalists": ("--top", "1", "--seeds", "1"),
    "prune-models": ("--yes",), "delete": ("--yes",),
}  # fmt: skip
"""What is added to a command: the last of two equal options counts."""


def sh_lines() -> list[str]:
    """The distinct lines, without comments, in the order of the pages."""
    return list(dict.fromkeys(line.partition("  #")[0].strip() for path in PAGES for line in lines(path, ("sh",))))


def may_run(line: str) -> bool:
    return not line.startswith(tuple(beginning for lines in NOT_RUN.values() for beginning in lines))


@pytest.fixture
def folder(contenders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the files and the studies that the pages speak of."""
    rng = np.random.default_rng(0)
    area, age = rng.uniform(30, 200, 120), rng.uniform(0, 50, 120)
    rows = pd.DataFrame({"area": area.round(1), "age": age.round(1), "id": range(120)})
    kinds = np.where(area > 100, "large", "small")
    for name, target in (("people", "job"), ("patients", "ill"), ("churn", "churn"), ("houses", "price")):
        values = 2.5 * area if name == "houses" else kinds
        rows.assign(**{target: values}).to_csv(tmp_path / f"{name}.csv", index=False)
    np.savez(tmp_path / "pictures.npz", x=np.zeros((2, 8, 8), np.float32))
    home = copy_home(contenders, tmp_path / "home")
    for name, other in (("other", "old-study"), ("middle", "attrition"), ("equal", "credit")):
        rename_study(name, other, home=home)
    run_small(home, "digits", trials=1, width=64, epochs=12)
    promote("weak", model="digits", force="the first one", home=home)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLP_SEARCH_HOME", str(home))
    return tmp_path


def test_each_line_of_the_sh_blocks_runs(folder: Path) -> None:
    run_id = ""
    for line in filter(may_run, sh_lines()):
        program, command, *words = shlex.split(re.sub(r"\b(fashion_)?mnist\b", "digits", line))
        assert program == "mlp-search", f"{line}: run it, or say in NOT_RUN why not"
        answer = call(command, *[run_id if word == "RUN" else word for word in words], *SMALL.get(command, ()))
        assert answer.code == 0, f"{line}: {answer.err}"
        if found := re.search(r"run ([0-9a-f]{32})", answer.out):
            run_id = found[1]


def test_each_reason_not_to_run_a_line_has_one() -> None:
    for beginnings in NOT_RUN.values():
        for beginning in beginnings:
            assert any(line.startswith(beginning) for line in sh_lines()), beginning


def test_the_benchmarks_have_the_options_of_their_page() -> None:
    for line in lines(ROOT / "benchmarks" / "README.md", ("sh",)):
        _, program, *words = shlex.split(line, comments=True)
        text = (ROOT / program).read_text(encoding="utf-8")
        assert [word for word in words if word.startswith("--") and f'"{word}"' not in text] == [], line
