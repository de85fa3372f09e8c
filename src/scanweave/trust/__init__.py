"""How far what was made can be trusted, judged by what was acquired."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .report import leave_one_out

__all__ = ["leave_one_out"]


def __getattr__(name: str) -> Any:
    # Scoring imports the jobs, and those this package: so only when it is asked for.
    if name == "leave_one_out":
        from .report import leave_one_out

        return leave_one_out
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
