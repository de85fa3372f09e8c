"""Many inputs: one that fails stops none, an interruption stops all."""

from __future__ import annotations

from pathlib import Path

import pytest

from scanweave.batch.many import each_on_its_own
from scanweave.errors import InputError, Interrupted

RUNS = [(Path("a"),), (Path("b"),), (Path("c"),)]


def failing(error: Exception, at: int = 1):
    done = []

    def work(number: int) -> str:
        if number == at:
            raise error
        done.append(number)
        return f"{number} done"

    return work, done


def test_one_that_fails_is_told_and_the_others_are_worked_on():
    work, done = failing(InputError("is empty"))
    outcomes = each_on_its_own(RUNS, work, lambda source, error: f"{source} {error.reason}")
    assert outcomes == ["0 done", "b is empty", "2 done"] and done == [0, 2]


@pytest.mark.parametrize("error", [Interrupted("stopped"), ZeroDivisionError()])
def test_an_interruption_and_a_fault_of_ours_stop_all(error):
    work, done = failing(error)
    with pytest.raises(type(error)):
        each_on_its_own(RUNS, work, lambda source, error: source)
    assert done == [0]
