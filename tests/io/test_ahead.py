import threading
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scanweave import Cine
from scanweave.errors import InputError
from scanweave.io.ahead import reading_ahead


def numbered(count: int, load: Callable[[int], None] = lambda i: None) -> Cine:
    def give(i: int) -> NDArray[np.uint8]:
        load(i)
        return np.full((2, 3), i, np.uint8)

    return Cine(give, shape=(2, 3), dtype=np.uint8, times=np.arange(count))


@given(st.lists(st.integers(0, 11), min_size=1, max_size=30), st.integers(1, 5))
def test_frames_are_the_same_in_any_order(order: list[int], depth: int) -> None:
    with reading_ahead(numbered(12), frames=depth) as run:
        assert [int(run.frame(i)[0, 0]) for i in order] == order


def test_what_follows_is_loaded_while_a_frame_is_worked_on() -> None:
    loaded = [threading.Event() for _ in range(12)]
    with reading_ahead(numbered(12, lambda i: loaded[i].set()), frames=3) as run:
        run.frame(0)
        assert all(event.wait(30) for event in loaded[:4])
        assert not any(event.is_set() for event in loaded[4:])


def test_a_jump_loads_nothing_ahead() -> None:
    loaded: list[int] = []
    with reading_ahead(numbered(12, loaded.append)) as run:
        run.frame(6)
        run.frame(2)
    assert loaded == [6, 2]


def test_what_is_wrong_with_a_frame_is_said_when_it_is_asked_for() -> None:
    def fail(i: int) -> None:
        if i == 2:
            raise InputError("frame 2 is damaged")

    with reading_ahead(numbered(5, fail)) as run:
        assert run.frame(0)[0, 0] == 0
        assert run.frame(1)[0, 0] == 1
        with pytest.raises(InputError, match="frame 2 is damaged"):
            run.frame(2)


def test_leaving_early_stops_it() -> None:
    loaded: list[int] = []
    with reading_ahead(numbered(1000, loaded.append), frames=900) as run:
        run.frame(0)
    count = len(loaded)
    assert count < 901
    assert not any(thread.name.startswith("reading-ahead") for thread in threading.enumerate())
    assert len(loaded) == count
