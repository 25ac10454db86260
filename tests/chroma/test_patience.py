"""A write that Chroma never answers, after one that failed: an error in place of a hang."""

import threading
import time

import pytest
from chromadb.errors import InternalError
from energy_chroma.patience import Patience

from energy_plugin.errors import HostWriteError


def refused():
    raise InternalError("database or disk is full")


def test_nothing_is_limited_before_a_write_failed():
    patience = Patience(seconds=0.0)
    assert patience.call(threading.get_ident) == threading.get_ident()
    with pytest.raises(ValueError, match="bad input"):
        patience.call(lambda: (_ for _ in ()).throw(ValueError("bad input")))
    assert not patience.failed


def test_a_write_that_is_never_answered():
    patience = Patience(seconds=0.2)
    with pytest.raises(InternalError):
        patience.call(refused)
    for_ever = threading.Event()
    with pytest.raises(HostWriteError, match=r"not answered a write for 0\.2 s"):
        patience.call(for_ever.wait)
    for_ever.set()


def test_a_write_that_is_answered_after_all():
    patience = Patience(seconds=60)
    with pytest.raises(InternalError):
        patience.call(refused)
    assert patience.call(lambda: 7) == 7
    with pytest.raises(InternalError):
        patience.call(refused)


def test_a_verb_may_take_longer_than_its_write_but_not_for_ever():
    patience = Patience(seconds=0.2)
    with pytest.raises(InternalError):
        patience.call(refused)
    for_ever = threading.Event()
    with pytest.raises(HostWriteError, match=r"not answered a write for 0\.2 s"):
        patience.call(lambda: patience.call(for_ever.wait), 5.0)
    for_ever.set()
    with pytest.raises(HostWriteError, match=r"not answered a write for 0\.4 s"):
        after_a_call_that_ended(patience, threading.Event().wait, 2.0)


def after_a_call_that_ended(patience, write, times):
    patience._stuck.join(10)
    return patience.call(write, times)


def test_behind_a_call_that_still_waits_there_is_no_waiting():
    patience = Patience(seconds=0.2)
    with pytest.raises(InternalError):
        patience.call(refused)
    for_ever = threading.Event()
    with pytest.raises(HostWriteError, match="for 0"):
        patience.call(for_ever.wait)
    patience.seconds = 60
    start = time.monotonic()
    with pytest.raises(HostWriteError, match="an earlier call"):
        patience.call(lambda: 7)
    assert time.monotonic() - start < 30
    for_ever.set()
    patience._stuck.join(10)
    assert patience.call(lambda: 7) == 7
