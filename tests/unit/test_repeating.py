"""A thread that repeats one step, whatever the step does."""

import logging
import threading

import pytest

from wsi.errors import JobStoreUnavailableError
from wsi.repeating import RepeatingThread


def test_a_step_that_has_more_to_do_is_called_again_at_once() -> None:
    done = threading.Event()
    left = [1, 2, 3]

    def step() -> bool:
        left.pop()
        if not left:
            done.set()
        return bool(left)

    thread = RepeatingThread("test", interval_s=3600)
    thread.start(step)
    assert done.wait(30)
    thread.close()
    assert thread.closing


def test_an_outage_is_logged_when_it_begins_and_when_it_ends(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    over = threading.Event()
    calls = []

    def step() -> None:
        calls.append(1)
        if len(calls) <= 3:
            raise JobStoreUnavailableError("the database did not answer")
        if len(calls) > 4:
            over.set()

    thread = RepeatingThread("test", interval_s=0.001)
    thread.start(step)
    assert over.wait(30)
    thread.close()
    assert caplog.text.count("test is waiting: the database did not answer") == 1
    assert caplog.text.count("test: database and broker answer again") == 1


def test_waiting_first_a_closed_thread_never_calls_its_step() -> None:
    thread = RepeatingThread("test", interval_s=3600)
    calls: list[int] = []
    thread.start(lambda: calls.append(1), wait_first=True)
    thread.close()
    assert calls == []
