"""A campaign against one study: a seeded plan of kills, the same command after each, and checks from outside."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import fault_points
from forked import MODULE, Forked
from invariants import Study
from waiting import PATIENCE_S

PROGRAM = Path(fault_points.__file__)
SEARCHING = (
    "home opened", "study opened", "trials requeued", "trial asked", "parameter recorded", "configuration drawn",
    "run created", "run opened", "in an epoch", "epochs logged", "spool being written", "spool written",
    "result recorded", "result reported", "model uploaded", "run closed", "run deleted",
)  # fmt: skip
ONCE = ("home opened", "study opened", "trials requeued", "run deleted")
"""Points that a process reaches once, before its workers train."""
FINALS = ("home opened", "in an epoch", "spool being written", "spool written", "result recorded", "model uploaded")
EVALUATING = ("test opened", "test result logged", "epochs logged")
PROMOTING = (
    "logged model made", "logged model stored", "logged model ready", "registered model made", "version made",
    "alias moved",
)  # fmt: skip
ANY_MOMENT = "any moment"
TEXT = """\
[study]
name = "{name}"
seed = {seed}
trials = {trials}
[data]
source = "digits"
folds = {folds}
[space]
width = {{ low = 8, high = 64 }}
depth = [1, 2]
learning_rate = {{ low = 1e-3, high = 3e-2, log = true }}
epochs = {{ low = 3, high = 8 }}
batch_size = 64
[search]
pruner = "{pruner}"
[workers]
slots = {slots}
"""


@dataclass
class Tally:
    """Counts of a campaign, for the summary."""

    kills: Counter[tuple[str, str]] = field(default_factory=Counter)
    restarts: int = 0
    studies: int = 0
    checked: Counter[str] = field(default_factory=Counter)

    def __iadd__(self, other: Tally) -> Tally:
        self.kills += other.kills
        self.checked += other.checked
        self.restarts += other.restarts
        self.studies += other.studies
        return self


@dataclass
class Campaign:
    """Kills one study at planned points and checks it after each kill.

    Attributes:
        study: The study and its databases.
        folder: Holds the study file and the logs of its processes.
        seed: Seed of the study and of the plan.
        slots: Number of workers.
        pruner: The study's pruner.
        environ: Addresses of databases and of a Ray cluster.
        beat_s: Seconds between heartbeats, for a shared database.
        pool: The kind of pool.
        victims: What may be killed while trials train.
        restore: Called after each kill, to restart what does not restart by itself.
        life_s: The longest time until a kill at a random moment, in seconds.
        budget: Number of trials; it grows when it is used up.
        tally: Counts of kills, restarts and checks.
    """

    study: Study
    folder: Path
    seed: int
    slots: int
    pruner: str = "asha"
    environ: dict[str, str] = field(default_factory=dict)
    beat_s: int = 0
    pool: str = "local"
    victims: tuple[str, ...] = ("search", "both", "worker")
    restore: Callable[[], None] = lambda: None
    life_s: float = 9
    budget: int = 10
    tally: Tally = field(default_factory=Tally)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.write()

    def write(self) -> None:
        """Writes the study file with the present budget."""
        folds = 3 if self.seed % 3 == 2 else 1
        known = {"name": self.study.name, "seed": self.seed, "trials": self.budget, "folds": folds}
        self.file.write_text(TEXT.format(**known, pruner=self.pruner, slots=self.slots))

    @property
    def file(self) -> Path:
        return self.folder / f"{self.study.name}.toml"

    @property
    def searching(self) -> tuple[str, ...]:
        """The command that starts and resumes the search."""
        return ("run", str(self.file), "--pool", self.pool)

    def start(self, arguments: tuple[str, ...], point: str, count: int, victim: str) -> Forked:
        """Starts a command that is killed at a point; without a point it is ``python -m search`` itself."""
        program = (str(PROGRAM), point, str(count), victim, str(self.beat_s), "--")
        if point == "never" and not self.beat_s:
            program = MODULE
        command = [*program, *arguments, "--home", self.study.home, "--json"]
        with self.log.open("ab") as log:
            log.write(f"\n$ {point} {count} {victim}: {' '.join(arguments)}\n".encode())
            log.flush()
            return Forked(command, stdout=log, stderr=log, env=os.environ | self.environ)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.study.name}.log"

    def search(self, kills: int) -> None:
        """Kills and restarts the search this many times and checks it each time; a used-up budget grows."""
        while self.tally.kills.total() < kills:
            if self.random.random() < 0.25:
                self.strike_any_moment(self.searching)
            else:
                self.strike(self.searching, self.random.choice(SEARCHING))
            self.study.after_a_kill(self.budget)
        self.finish(self.searching)
        self.study.at_the_end(self.budget)
        self.tally.studies += 1
        self.tally.checked = self.study.checked

    def crown(self) -> None:
        """Kills and repeats the finals, the evaluation and the promotion."""
        name = self.study.name
        self.finish(self.searching)
        for command, points, deaths in (
            (("finalists", name, "--top", "2", "--seeds", "2", "--refit", "--pool", self.pool), FINALS, 3),
            (("evaluate", name), EVALUATING, 1),
            (("promote", name), PROMOTING, 2),
        ):
            struck = [self.strike(command, point) for point in self.random.sample(points, deaths)]
            if command[0] != "evaluate" or all(struck):  # the held-out test is read once
                self.finish(command)
        self.study.at_the_end(self.budget)
        self.study.champion()
        self.tally.studies += 1
        self.tally.checked = self.study.checked

    def strike(self, arguments: tuple[str, ...], point: str) -> bool:
        """Runs a command until it is killed at a point or ends before; returns whether it was killed."""
        trains = arguments[0] in ("run", "finalists")
        once = point in ONCE
        victim = self.random.choice(self.victims if trains and not once else ("search",))
        process = self.start(arguments, point, self.random.randint(1, 3 if trains and not once else 1), victim)
        code = process.wait(PATIENCE_S)
        struck = code == -signal.SIGKILL or self.has_line(fault_points.KILLED)
        self.tally.kills[point, victim] += struck
        self.note_end(code, grow=arguments[0] == "run")
        return code != 0

    def strike_any_moment(self, arguments: tuple[str, ...]) -> None:
        """Kills after a random time."""
        victim = self.random.choice(self.victims)
        process = self.start(arguments, "never", 0, victim)
        until = time.monotonic() + self.random.uniform(0.5, self.life_s)
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.02)
        struck = process.poll() is None and fault_points.strike(process.pid, victim)
        self.tally.kills[ANY_MOMENT, victim] += struck
        self.note_end(process.wait(PATIENCE_S))

    def note_end(self, code: int, *, grow: bool = True) -> None:
        """Checks that a process was killed as planned or succeeded; every other end is a bug."""
        assert code in (0, -signal.SIGKILL), f"exit code {code}: {self.end_of_log()}"
        self.restore()
        if code:
            self.tally.restarts += 1
        elif grow and self.is_spent():
            self.budget += 4
            self.write()

    def is_spent(self) -> bool:
        """Whether the budget is used up; a further kill needs more trials."""
        return len(self.study.trials()) >= self.budget

    def finish(self, arguments: tuple[str, ...]) -> None:
        """Runs a command to its end without a kill."""
        code = self.start(arguments, "never", 0, "search").wait(PATIENCE_S)
        assert code == 0, f"exit code {code}: {self.end_of_log()}"

    def has_line(self, line: str) -> bool:
        """Whether the last process wrote a line."""
        return line in self.log.read_text(errors="replace").rpartition("\n$ ")[2]

    def end_of_log(self) -> str:
        return self.log.read_text(errors="replace")[-3000:]
