import ctypes
import sys
import threading

import pytest

from wsi.models import signal_stack
from wsi.models.signal_stack import _SS_DISABLE, _sigaltstack, _Stack, drop_small_signal_stack

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="sigaltstack of Linux")


@pytest.mark.parametrize(("kib", "dropped"), [(32, True), (128, False)])
def test_a_small_signal_stack_is_dropped_and_a_roomy_one_left(kib: int, dropped: bool) -> None:
    found = _Stack()
    memory = ctypes.create_string_buffer(kib * 1024)

    def in_a_thread_of_its_own() -> None:
        given = _Stack(ctypes.addressof(memory), 0, len(memory))
        _sigaltstack(ctypes.byref(given), None)
        drop_small_signal_stack()
        drop_small_signal_stack()
        _sigaltstack(None, ctypes.byref(found))

    thread = threading.Thread(target=in_a_thread_of_its_own)
    thread.start()
    thread.join()
    assert bool(found.ss_flags & _SS_DISABLE) is dropped


def test_what_the_system_refuses_is_an_error() -> None:
    with pytest.raises(OSError, match="sigaltstack"):
        _sigaltstack(ctypes.byref(_Stack(None, 99, 0)), None)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(signal_stack, "_sigaltstack", pytest.fail)
    drop_small_signal_stack()
