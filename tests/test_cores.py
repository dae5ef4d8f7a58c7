"""ike_data.runtime.cores: calls shared among threads."""

from __future__ import annotations

import gc
import threading
import time
import weakref

import pytest
import torch

from ike_data.runtime.cores import as_on_gpu, map_on_cores, n_equal_parts

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads(n_threads_restored):
    torch.set_num_threads(2)


def test_results_come_in_order_though_the_first_is_the_last_to_be_done():
    second_done = threading.Event()

    def double(number: int) -> int:
        if number == 0:
            assert second_done.wait(10)
        elif number == 1:
            second_done.set()
        return 2 * number

    assert list(map_on_cores(double, range(5), CPU)) == [0, 2, 4, 6, 8]
    assert list(map_on_cores(double, [], CPU)) == []


class SlowSecondCall:
    """The first call fails, or is done, when the second has begun; the second is slow to end."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error
        self.second_began = threading.Event()
        self.begun: list[int] = []
        self.ended: list[int] = []

    def __call__(self, number: int) -> int:
        self.begun.append(number)
        if number == 0:
            assert self.second_began.wait(10)
            if self.error is not None:
                raise self.error
        else:
            self.second_began.set()
            time.sleep(0.3)
        self.ended.append(number)
        return number


@pytest.mark.parametrize("error", [OSError("full"), SystemExit(130), None])
def test_no_call_runs_on_after_an_error_or_when_the_rest_is_not_wanted(error):
    call = SlowSecondCall(error)
    results = map_on_cores(call, range(100), CPU)
    if error is None:
        assert next(results) == 0
        results.close()
    else:
        with pytest.raises(type(error)) as caught:
            next(results)
        assert caught.value is error
    begun = set(call.begun)
    assert begun - set(call.ended) == ({0} if error else set())  # the first ended by its error
    assert 1 in begun and len(begun) < 100  # the rest were not made
    time.sleep(0.1)
    assert set(call.begun) == begun


def test_no_call_runs_on_when_the_items_end_in_an_error():
    call = SlowSecondCall(None)

    def items():
        yield from (0, 1)
        assert call.second_began.wait(10)  # a call that has not begun is not made
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(map_on_cores(call, items(), CPU))
    assert set(call.begun) == set(call.ended)


def test_results_that_were_taken_are_let_go():
    results = map_on_cores(lambda number: torch.full((4,), number), range(3), CPU)
    first = next(results)
    gone = weakref.ref(first)
    next(results)
    del first
    gc.collect()
    assert gone() is None
    results.close()


def test_calls_are_in_inference_mode_where_the_caller_is():
    with torch.inference_mode():
        totals = torch.zeros(3)

        def add(idx: int) -> None:
            totals[idx] += idx  # refused outside of it

        list(map_on_cores(add, range(3), CPU))
    assert totals.tolist() == [0, 1, 2]
    assert list(map_on_cores(lambda _: torch.is_inference_mode_enabled(), [0], CPU)) == [False]


@pytest.mark.parametrize("gradients", [False, True])
def test_calls_are_without_gradients_where_the_caller_is(gradients):
    with torch.set_grad_enabled(gradients):
        found = list(map_on_cores(lambda _: torch.is_grad_enabled(), range(2), CPU))
    assert found == [gradients, gradients]


@pytest.mark.parametrize(
    ("n_cores", "batch_size", "n_parts", "cores_each"),
    [(1, 4, 1, 1), (2, 2, 2, 1), (2, 3, 1, 2), (4, 6, 3, 1), (8, 2, 2, 4)],
)
def test_the_parts_of_a_batch_share_the_cores(n_cores, batch_size, n_parts, cores_each):
    torch.set_num_threads(n_cores)
    assert n_equal_parts(batch_size, CPU) == n_parts
    calls = map_on_cores(lambda _: torch.get_num_threads(), range(n_parts), CPU, n_calls=n_parts)
    assert list(calls) == [cores_each] * n_parts
    with as_on_gpu():
        assert n_equal_parts(batch_size, CPU) == 1
