import itertools
import threading
import time

import pytest

from derain_video.pipeline.ahead import ahead, spread


def alive() -> int:
    return sum(thread.name == "derain-ahead" for thread in threading.enumerate())


def test_same_items_in_order():
    assert list(ahead(iter(range(100)), 3)) == list(range(100))


def test_runs_ahead_but_no_further_than_told():
    made = []
    items = ahead((made.append(i) or i for i in itertools.count()), 3)
    next(items)
    time.sleep(0.2)
    assert len(made) == 1 + 3 + 1  # taken, queued, and one that waits for room
    items.close()
    assert not alive()


def test_an_error_comes_after_the_items_before_it():
    def failing():
        yield 1
        yield 2
        raise OSError("gone")

    items = ahead(failing(), 5)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(items)
    assert not alive()


def test_closing_closes_what_it_reads():
    closed = []

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    chained = ahead(iter(ahead(items(), 2)), 2)
    next(chained)
    chained.close()
    assert closed == [True] and not alive()


@pytest.mark.parametrize("workers", [1, 4])
def test_calls_run_at_once_and_answer_in_order(workers):
    together = threading.Barrier(workers, timeout=5)

    def call(number):
        together.wait()  # goes on only when as many are there
        return number

    calls = (lambda number=number: call(number) for number in range(3 * workers))
    assert list(spread(calls, workers)) == list(range(3 * workers))


def test_no_more_calls_are_taken_than_workers():
    taken = []
    results = spread((lambda number=number: number for number in itertools.count() if not taken.append(number)), 3)
    assert next(results) == 0 and taken == [0, 1, 2]
    results.close()


def test_an_error_of_the_calls_comes_after_what_they_gave():
    def failing():
        yield lambda: 1
        yield lambda: 2
        raise OSError("gone")

    results = spread(failing(), 4)
    assert [next(results), next(results)] == [1, 2]
    with pytest.raises(OSError, match="gone"):
        next(results)


def test_an_error_of_a_call_is_raised_in_its_place():
    results = spread(iter([lambda: 1, lambda: 1 // 0, lambda: 3]), 2)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
