"""Prefetching: the order, the bound, what it raises, and that no thread stays behind."""

import contextlib
import threading
import time

import pytest

from asc_jax.data.prefetch import AHEAD, prefetch


def threads() -> list[str]:
    return [one.name for one in threading.enumerate() if one.name.startswith("prefetch")]


def test_results_come_in_order_from_another_thread():
    made = prefetch(lambda i: (i, threading.current_thread().name), range(10))
    numbers, names = zip(*made, strict=True)
    assert numbers == tuple(range(10))
    assert len(set(names)) == 1 and names[0].startswith("prefetch")
    assert not threads()


def test_no_more_is_made_than_may_wait():
    started = []
    made = prefetch(lambda i: started.append(i) or i, range(20))
    for i in range(5):
        assert next(made) == i
        time.sleep(0.01)  # a thread without a bound would run on
        assert i < len(started) <= i + 1 + AHEAD
    while len(started) < 5 + AHEAD:
        assert threads()
        time.sleep(0.01)
    assert len(started) > 5  # unasked
    made.close()
    assert len(started) <= 5 + AHEAD


def test_an_exception_reaches_the_loop_in_its_turn():
    made = prefetch(lambda i: 1 / (2 - i), range(5))
    assert [next(made), next(made)] == [0.5, 1]
    with pytest.raises(ZeroDivisionError):
        next(made)
    assert not threads()


def test_leaving_the_loop_ends_the_thread():
    with pytest.raises(KeyError), contextlib.closing(prefetch(str, range(5))) as made:
        for _ in made:
            assert threads()
            raise KeyError("stopped")
    assert not threads()
