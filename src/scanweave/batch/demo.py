"""The main job on a real run that every installation has: the echo that comes with pydicom."""

from __future__ import annotations

from pathlib import Path

from .. import io
from ..interpolation.api import Progress
from ..interpolation.config import InterpolateConfig
from .inputs import ReadOptions
from .interpolation import WriteOptions, interpolate_file

# Enough for quartiles, and the demo stays under a minute on two cores.
_HIDDEN = 16


def make_demo(folder: Path, *, factor: int = 4, progress: Progress | None = None) -> dict[Path, str]:
    """Slow pydicom's four-chamber echo into `folder`; return what was written and what it is.

    Earlier results of the demo are replaced.
    """
    from pydicom.examples import get_path

    echo = Path(get_path("ybr_color"))
    slow = folder / f"echo_x{factor}.dcm"
    interpolate_file(
        (echo,),
        slow,
        InterpolateConfig(factor=factor),
        reading=ReadOptions(),
        writing=WriteOptions(side_by_side=True, report=True, report_hidden=_HIDDEN, overwrite=True),
        progress=progress,
    )
    film = slow.with_suffix(".mp4")
    report = progress or (lambda what, done, total: None)
    made = io.read(slow, as_="cine")
    rate = io.read(echo, as_="cine").fps
    io.write(
        made,
        film,
        overwrite=True,
        playback_fps=rate,
        progress=lambda done: report("writing the film", done, len(made)),
    )
    return {
        slow: f"slow motion as derived DICOM, {len(made)} frames",
        film: "the same as a film",
        slow.with_name(f"{slow.stem}.side-by-side.mp4"): "original, slow motion, and frames repeated",
        slow.with_name(f"{slow.name}.report.html"): "how far to trust it: open this in a browser",
        slow.with_name(f"{slow.name}.scanweave.json"): "what each frame is, and how it was made",
    }
