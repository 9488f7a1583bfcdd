"""The virtual clock alone: whatever order slots really finish in, every trial sees the same."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from search.scheduling.clock.virtual_clock import Course, VirtualClock

N_TRIALS, DELAY = 24, 9


class Search:
    """A search whose configurations and pruning are hashes of all that a trial may use.

    Args:
        n_slots: Real slots.
        n_virtual: Virtual slots.
        luck: Decides in which order the slots get on.
        n_kills: How often everything is lost that is not recorded.
    """

    def __init__(self, n_slots: int, n_virtual: int, luck: random.Random, n_kills: int = 0) -> None:
        self.n_slots, self.n_virtual, self.luck, self.n_kills = n_slots, n_virtual, luck, n_kills
        self.clock = VirtualClock(n_virtual, DELAY)
        self.running: dict[int, int] = {}  # epochs trained in this attempt, by number
        self.held: set[int] = set()
        self.waiting: list[int] = []
        self.starts: dict[int, int] = {}

    def run(self) -> list[tuple[Any, ...]]:
        """Every trial: when it began, how long its epochs took, and when it ended."""
        for _ in range(20_000):
            if all(n in self.clock.courses and self.clock.courses[n].end is not None for n in range(N_TRIALS)):
                courses = [self.clock.courses[number] for number in range(N_TRIALS)]
                return [(c.start, c.epoch, c.last, c.end) for c in courses]
            if self.n_kills and self.luck.random() < 0.02:
                self.kill()
            elif len(self.running) < self.n_slots and self.luck.random() < 0.5:
                self.begin()
            elif free := [number for number in self.running if number not in self.held]:
                self.train(self.luck.choice(free))
            for number in sorted(self.held):
                self.judge(number)
        raise AssertionError("the search does not end")

    def begin(self) -> None:
        if self.waiting:
            self.running[self.waiting.pop(0)] = 0
            return
        number, start = len(self.clock.courses), self.clock.next_start()
        if number == N_TRIALS or start is None:
            return
        past = tuple((n, c.end) for n, c in self.clock.courses.items() if self.clock.has_ended(n, start))
        drawn = random.Random(hash((number, past, tuple(self.seen(n, start) for n in range(number)))))
        last = drawn.randint(1, 9)
        judged = sorted(drawn.sample(range(1, last), min(last - 1, 3)))
        never = drawn.random() < 0.2
        epoch, once = drawn.choice((1, 2, 5, 30)), drawn.choice((0, 7))
        self.clock.add(number, Course(start, epoch, last, () if never else judged, judged, once=once))
        self.running[number] = 0

    def train(self, number: int) -> None:
        course = self.clock.courses[number]
        self.running[number] += 1
        epoch = self.running[number]
        if epoch < course.reported:
            return
        if epoch in course.shown:
            self.held.add(number)
            return
        course.reported = epoch
        course.continued = max(course.continued, epoch - 1)
        if epoch == course.last:
            self.end(number, epoch)

    def judge(self, number: int) -> None:
        epoch = self.running[number]
        if not self.clock.may_judge(number, epoch):
            assert number != min(self.running), "the first trial never waits"
            return
        self.held.remove(number)
        course, time = self.clock.courses[number], self.clock.judged_at(number, epoch)
        course.reported = epoch
        course.continued = max(course.continued, epoch - 1)
        seen = tuple(self.seen(n, time) for n in range(number))
        if epoch in course.may_end and random.Random(hash((number, epoch, seen))).random() < 0.5:
            self.end(number, epoch)
        else:
            course.continued = epoch

    def seen(self, number: int, time: int) -> object:
        """What a later trial's pruner and sampler see: how many of the shown epochs, and whether it has ended."""
        course = self.clock.courses[number]
        epochs = course.end if self.clock.has_ended(number, time) else course.epochs_by(time)
        shown = [epoch for epoch in course.shown if epoch <= (epochs or 0)]
        assert course.reported >= max(shown, default=0), "what is seen is known"
        return len(shown)

    def end(self, number: int, epoch: int) -> None:
        self.clock.courses[number].end = epoch
        del self.running[number]

    def kill(self) -> None:
        self.n_kills -= 1
        before, self.clock = self.clock.courses, VirtualClock(self.n_virtual, DELAY)
        for number, c in before.items():
            known = replace(c, continued=max(0, c.reported - 1))
            self.clock.add(number, known)
        self.waiting = sorted({*self.running, *self.waiting})
        self.running, self.held = {}, set()


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 8), st.integers(0, 2), st.sampled_from((2, 3, 8)))
def test_slots_order_and_kills_change_nothing(seed: int, n_slots: int, n_kills: int, n_virtual: int) -> None:
    alone = Search(1, n_virtual, random.Random(0)).run()
    assert Search(min(n_slots, n_virtual), n_virtual, random.Random(seed), n_kills).run() == alone


def test_the_first_trials_begin_together_and_the_next_one_where_the_first_ends() -> None:
    clock = VirtualClock(2)
    for number in (0, 1):
        assert clock.next_start() == 0
        clock.add(number, Course(0, 10 * (number + 1), 3, [1], [1]))
    assert clock.next_start() is None
    clock.courses[1].end = 1  # at 20, while the other one may have ended at 10
    assert clock.next_start() is None
    clock.courses[0].reported = clock.courses[0].continued = 1  # it was not pruned, and ends at 30
    assert clock.next_start() == 20
    assert clock.has_ended(1, 20)
    assert not clock.has_ended(0, 20)


def test_the_next_trial_waits_for_reports_of_trials_that_are_never_pruned() -> None:
    for needs_reports, known in ((True, None), (False, 20)):
        clock = VirtualClock(2, needs_reports=needs_reports)
        clock.add(0, Course(0, 10, 9, [], [1, 3]))
        clock.add(1, Course(0, 10, 2, end=2))
        assert clock.next_start() == known, "its configuration is drawn from the report of trial 0 at 10"
        clock.courses[0].reported = 1
        assert clock.next_start() == 20, "the next one is at 30"


@pytest.mark.parametrize(("reported", "delay", "known"), [(0, 0, False), (1, 0, True), (0, -6, True), (0, 6, False)])
def test_a_trial_is_judged_once_earlier_reports_are_there(reported: int, delay: int, known: bool) -> None:
    clock = VirtualClock(2, delay)
    clock.add(0, Course(0, 10, 4, [1], [1], reported=reported))
    clock.add(1, Course(0, 15, 4, [1], [1]))
    assert clock.may_judge(1, 1) is known
    assert clock.may_judge(0, 1), "the first trial never waits"


def test_a_complete_trial_is_waited_for_where_others_are_judged_by_it() -> None:
    clock = VirtualClock(2)
    clock.add(0, Course(0, 10, 2, [1], [2], reported=2))  # its last report is there, its result is not
    clock.add(1, Course(0, 30, 4, [1], [4]))
    assert not clock.may_judge(1, 1)
    clock.courses[0].end = 2
    assert clock.may_judge(1, 1)


def test_more_real_slots_than_virtual_ones_are_noticed() -> None:
    clock = VirtualClock(1)
    clock.add(0, Course(0, 10, 4))
    assert clock.is_full
    clock.courses[0].end = 4
    assert not clock.is_full
