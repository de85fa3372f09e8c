"""The tasks of Uni-COAL's published evaluation, each from (source, target, spacing) alone.

The authors write one file per task by hand; one of theirs asks for another source, target and spacing than its name
says, and those with source T2 fail. Here a task is its three facts, and its name follows from them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UsageError

_NAMED = (
    re.compile(r"translation_(?P<source>[A-Za-z0-9]+)_(?P<target>[A-Za-z0-9]+)"),
    re.compile(r"sr_(?P<source>[A-Za-z0-9]+)_(?P<spacing>\d+)x"),
    re.compile(r"cmsr_(?P<source>[A-Za-z0-9]+)_(?P<target>[A-Za-z0-9]+)_(?P<spacing>\d+)x"),
)


@dataclass(frozen=True, slots=True)
class Task:
    """What is made of what, and on which slices.

    Attributes:
        source: Contrast that is given.
        target: Contrast that is made.
        spacing: Distance of the given slices, in slices of the target; 1 gives all of them.
    """

    source: str
    target: str
    spacing: float = 1

    def __post_init__(self) -> None:
        if not self.spacing >= 1:
            raise UsageError(
                f"source slices cannot lie {self.spacing:g} slices of the target apart", remedy="give 1 or more"
            )
        if self.spacing == 1 and self.source == self.target:
            raise UsageError(
                f"nothing is to be made: {self.target} is given on every slice", remedy="give a spacing above 1"
            )

    @property
    def kind(self) -> str:
        """``CMS`` makes another contrast, ``SR`` slices between others, ``CMSR`` both."""
        return ("CMS" if self.spacing == 1 else "CMSR") if self.source != self.target else "SR"

    @property
    def name(self) -> str:
        """The published file's name, without its ending: ``translation_T1_T2``, ``sr_T1_4x``, ``cmsr_T2_PD_4x``."""
        if self.kind == "CMS":
            return f"translation_{self.source}_{self.target}"
        contrasts = self.source if self.kind == "SR" else f"{self.source}_{self.target}"
        return f"{self.kind.lower()}_{contrasts}_{self.spacing:g}x"

    @classmethod
    def named(cls, name: str) -> Task:
        """Return the task that a published file's name tells.

        Raises:
            UsageError: It tells none.

        Example:
            >>> Task.named("cmsr_T1_T2_4x")
            Task(source='T1', target='T2', spacing=4)
        """
        for pattern in _NAMED:
            if told := pattern.fullmatch(name):
                facts = told.groupdict()
                return cls(facts["source"], facts.get("target") or facts["source"], int(facts.get("spacing") or 1))
        raise UsageError(f"{name!r} names no task", remedy="such as translation_T1_T2, sr_T1_4x or cmsr_T2_PD_4x")


def _translations(contrasts: Sequence[str]) -> tuple[Task, ...]:
    return tuple(Task(source, target) for source in contrasts for target in contrasts if source != target)


PUBLISHED_TASKS: dict[str, tuple[Task, ...]] = {
    "ixi": (
        *_translations(("T1", "T2", "PD")),
        *(Task(contrast, contrast, spacing) for contrast in ("T1", "T2") for spacing in (2, 4)),
        Task("T2", "PD", 4),
        Task("T1", "T2", 4),
    ),
    "brats19": (Task("t1", "t2"), Task("t2", "flair"), Task("flair", "t1")),
    "adni": (Task("flair", "t1", 5), Task("t1", "t1", 5)),
}
"""What the authors evaluate, by data set; contrasts as their files name them."""


def task_of(name: str) -> Task:
    """Return a task by name: ``ixi/sr_T1_4x`` of the published ones, or any as `Task.named`.

    Raises:
        UsageError: There is none of that name.
    """
    data, mark, short = name.rpartition("/")
    if not mark:
        return Task.named(short)
    tasks = {task.name: task for task in PUBLISHED_TASKS.get(data, ())}
    if not tasks:
        raise UsageError(f"no tasks are known of {data!r}", remedy=f"choose one of {', '.join(PUBLISHED_TASKS)}")
    if short not in tasks:
        raise UsageError(f"{data} has no task {short!r}", remedy=f"choose one of {', '.join(tasks)}")
    return tasks[short]
