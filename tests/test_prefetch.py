"""Reading ahead and writing behind: order, bounds and errors."""

import threading
import time

import pytest

from ike_data.runtime.prefetch import prefetch, write_behind


def test_items_come_in_order_and_from_another_thread():
    threads = set()

    def items():
        for number in range(50):
            threads.add(threading.get_ident())
            yield number

    assert list(prefetch(items())) == list(range(50))
    assert threading.get_ident() not in threads
    assert list(prefetch([])) == []


def test_no_more_than_two_are_prefetched():
    taken = []

    def items():
        for number in range(50):
            taken.append(number)
            yield number

    for number in prefetch(items()):
        time.sleep(0.002)
        assert len(taken) <= number + 3
        if number == 20:
            break
    assert len(taken) < 25


def test_an_error_of_the_reader_comes_at_its_place():
    def items():
        yield 1
        yield 2
        raise ValueError("the third is broken")

    got = []
    with pytest.raises(ValueError, match="third"):
        for item in prefetch(items()):
            got.append(item)
    assert got == [1, 2]


def test_all_is_written_in_order_at_the_end_of_the_block():
    written = []

    def call(number):
        time.sleep(0.002)
        written.append((number, threading.get_ident()))

    with write_behind() as write:
        for number in range(10):
            write(lambda number=number: call(number))
            assert number - len(written) < 4
    assert [number for number, _ in written] == list(range(10))
    assert threading.get_ident() not in {thread for _, thread in written}


@pytest.mark.parametrize("n_after", [0, 5])
def test_an_error_of_the_writer_is_raised(n_after):
    def fail():
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), write_behind() as write:
        write(fail)
        for _ in range(n_after):
            write(lambda: None)
