"""Many inputs of one command, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from ..errors import Interrupted, ScanweaveError
from .inputs import Run

FINISHED = "Finished by an earlier run; left as it is."
"""The note on an output that was there already, whole."""

Outcome = TypeVar("Outcome")


def each_on_its_own(
    runs: Sequence[Run], work: Callable[[int], Outcome], failed: Callable[[str, ScanweaveError], Outcome]
) -> list[Outcome]:
    """Return the outcome of every input; one that fails does not stop the others.

    Args:
        runs: The inputs.
        work: Gives the outcome of the input of a number, counted from 0.
        failed: Gives that of an input, named, which cannot be worked on.

    Raises:
        Interrupted: The user stopped it; what was finished stays.
    """
    outcomes = []
    for number, run in enumerate(runs):
        try:
            outcome = work(number)
        except Interrupted:
            raise
        except ScanweaveError as error:
            outcome = failed(str(run[0]), error)
        outcomes.append(outcome)
    return outcomes
