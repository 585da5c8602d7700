"""Of many requests of a page the last is answered; what runs is stopped, what waits is dropped."""

from __future__ import annotations

import threading

import pytest

from sr_hooks.core.progress import Stopped, progress_bar, stoppable
from sr_hooks.explorer.latest import LatestOnly


class Work:
    """A computation of many steps that waits at its second step until it may go on."""

    def __init__(self):
        self.begun, self.may_go_on, self.steps = threading.Event(), threading.Event(), 0

    def __call__(self):
        with progress_bar("work", 100) as progress:
            for _ in range(100):
                self.steps += 1
                if self.steps == 2:
                    self.begun.set()
                    self.may_go_on.wait(10)
                progress.update()
        return "done"


class Asking(threading.Thread):
    """A request of a page in a thread of its own."""

    def __init__(self, latest, page, compute):
        super().__init__(daemon=True)
        self.latest, self.page, self.compute, self.answer = latest, page, compute, "none yet"
        self.start()

    def run(self):
        self.answer = self.latest(self.page, self.compute)


def test_a_newer_request_stops_the_running_one_and_drops_those_that_wait():
    latest, first = LatestOnly(), Work()
    running = Asking(latest, "page", first)
    assert first.begun.wait(10)
    computed = []
    waiting = []
    for number in range(5):
        waiting.append(Asking(latest, "page", lambda number=number: computed.append(number) or f"answer {number}"))
        while latest._newest["page"] < number + 2:
            pass
    for thread in waiting[:-1]:
        thread.join(10)  # dropped while the first still runs: no queue grows
        assert not thread.is_alive() and thread.answer is None
    assert waiting[-1].is_alive()
    first.may_go_on.set()
    running.join(10), waiting[-1].join(10)
    assert running.answer is None and first.steps == 2  # of 100
    assert waiting[-1].answer == "answer 4" and computed == [4]
    assert (latest.computed, latest.dropped) == (1, 5)


def test_pages_wait_for_each_other_and_drop_nothing_of_each_other():
    latest, first = LatestOnly(), Work()
    running = Asking(latest, "one", first)
    assert first.begun.wait(10)
    other = Asking(latest, "two", lambda: "other")
    other.join(0.05)
    assert other.is_alive()
    first.may_go_on.set()
    running.join(10), other.join(10)
    assert (running.answer, other.answer) == ("done", "other")


def test_an_error_is_raised_and_the_next_request_is_answered():
    latest = LatestOnly()
    with pytest.raises(ZeroDivisionError):
        latest("page", lambda: 1 / 0)
    assert latest("page", lambda: "answer") == "answer"
    with pytest.raises(KeyError), latest.alone():
        raise KeyError
    assert latest("page", lambda: "answer") == "answer"


def test_a_closed_page_gets_no_answer():
    latest, work = LatestOnly(), Work()
    running = Asking(latest, "page", work)
    assert work.begun.wait(10)
    latest.forget("page")
    work.may_go_on.set()
    running.join(10)
    assert running.answer is None and work.steps == 2


def test_progress_stops_only_inside_the_block_and_its_thread():
    with progress_bar("steps") as progress:
        with stoppable(lambda: True), pytest.raises(Stopped, match="steps: 0 steps: stopped"):
            progress.update()
        with stoppable(lambda: True):
            other = threading.Thread(target=progress.update)
            other.start(), other.join()
        progress.update()
        assert progress.n == 2


def test_requests_that_arrive_in_another_order_than_they_were_made():
    latest = LatestOnly()
    assert latest("page", lambda: "second", at=2.0) == "second"
    assert latest("page", lambda: "first", at=1.0) is None, "asked before the one that was answered"
    assert latest("other page", lambda: "first", at=1.0) == "first"
    assert latest("page", lambda: "a field") == "a field" and latest("page", lambda: "third", at=3.0) == "third"
    assert (latest.computed, latest.dropped) == (4, 1)
    latest.forget("page")
    assert latest("page", lambda: "anew", at=0.0) == "anew"
