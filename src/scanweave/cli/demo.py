"""``scanweave demo [-o demo]``: the main job on the real echo that comes with pydicom."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from ..batch.demo import make_demo
from .common import Meter, parse


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Slow the real echo that comes with pydicom four times: DICOM, film, side-by-side film, trust report."""

    output: Annotated[Path, tyro.conf.arg(aliases=["-o"])] = Path("demo")
    """Folder to write."""

    factor: int = 4
    """How many times slower."""

    debug: bool = False
    """Show the traceback of an error."""


def main(args: Sequence[str]) -> int:
    """Run the command."""
    command = parse(Demo, args, prog="demo")
    with Meter() as meter:
        written = make_demo(command.output, factor=command.factor, progress=meter)
    print("The echo that comes with pydicom, slowed; look at:")
    for path, what in written.items():
        print(f"  {path}  {what}")
    return 0
