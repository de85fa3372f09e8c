"""Published data from the web: fetched, verified, unpacked, and laid out as fusion reads it.

::

    OUT/CLASS_b0_0/LR/..., HR/...       of an archive with CLASS/LR and CLASS/HR, as the published programs lay it out
    OUT/...                             of any other archive, as it is; of a file that is no archive, the file
    OUT.partial/                        what has arrived, until all of it is in its place
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ..errors import InputError, OutputError, ScanweaveError
from ..io.archives import unzip
from ..io.download import Download, check_address, download

Progress = Callable[[str, int, int], None]

_CAMERAS = ("LR", "HR")
_LAID_OUT = re.compile(r".*_b0_\d+")


@dataclass(frozen=True)
class DownloadOutcome:
    """What has arrived.

    Attributes:
        output: The folder.
        entries: What is new in it.
        files: How many files that is.
        runs: Folders with a fast and a sharp camera's frames, ``LR`` and ``HR``.
        bytes: Size of what was fetched.
        sha256: Of what was fetched; give it to fetch the same again.
        resumed: Bytes that an earlier, interrupted call had brought.
    """

    output: Path
    entries: tuple[Path, ...]
    files: int
    runs: tuple[Path, ...]
    bytes: int
    sha256: str
    resumed: int


def fetch(
    url: str,
    output: Path,
    *,
    sha256: str | None = None,
    pause: float = 1.0,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> DownloadOutcome:
    """Fetch an archive and unpack it into a folder; one that was interrupted goes on where it stopped.

    Args:
        url: Of http or https.
        output: Folder to unpack into; it may hold other things.
        sha256: What the archive must hash to, hexadecimal.
        pause: Seconds before another attempt after a connection broke off.
        overwrite: Replace what is in the folder under the same names.
        progress: Told of each step.

    Raises:
        UsageError: Another protocol, or a checksum that is none.
        InputError: The server refuses or breaks off, the checksum differs, or the archive is damaged or hostile.
        UnsupportedError: An encrypted archive.
        ResourceError: The disk has no room.
        OutputError: Something of the same name is there, or the folder cannot be written to.
    """
    check_address(url, sha256)
    if output.exists() and not output.is_dir():
        raise OutputError("is a file, a folder is needed", path=output, remedy="give another name with -o")
    report = progress or (lambda what, done, total: None)
    whole = output.absolute()
    partial = whole.with_name(whole.name + ".partial")
    # other downloads into the same folder have parts of their own
    place = partial / hashlib.sha256(url.encode()).hexdigest()[:16] / _name(url)
    arrived = _here(place, sha256) or download(
        url, place, sha256=sha256, pause=pause, progress=lambda done, total: report("fetching", done, total)
    )
    made = place.parent / "unpacked"
    shutil.rmtree(made, ignore_errors=True)
    try:
        runs = _unpacked(place, made, lambda done, total: report("unpacking", done, total))
        count = sum(path.is_file() for path in made.rglob("*"))
        entries = _moved(made, output, overwrite=overwrite)
    except (ScanweaveError, OSError) as error:
        if not place.exists():
            (made / place.name).replace(place)
        if isinstance(error, InputError):
            place.unlink()  # to go on with it would only end here again
        shutil.rmtree(made, ignore_errors=True)
        raise
    shutil.rmtree(place.parent, ignore_errors=True)
    with contextlib.suppress(OSError):
        partial.rmdir()
    return DownloadOutcome(
        output,
        tuple(entries),
        count,
        tuple(output / run for run in runs),
        arrived.size,
        arrived.sha256,
        arrived.resumed,
    )


def _here(place: Path, sha256: str | None) -> Download | None:
    """Return what an earlier call fetched whole but could not put into its place, if it is known to be the same."""
    if sha256 is None or not place.is_file():
        return None
    with place.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    size = place.stat().st_size
    return Download(place, size, found, size) if found == sha256.lower() else None


def _name(url: str) -> str:
    """Return the name of the file at an address, without anything odd."""
    last = unquote(urlsplit(url).path).rsplit("/", 1)[-1]
    return re.sub(r"[^\w.-]", "_", last).strip(".") or "download"


def _unpacked(place: Path, made: Path, progress: Callable[[int, int], None]) -> list[Path]:
    """Unpack an archive into a new folder, or move a file that is none there; return runs of two cameras, relative."""
    made.mkdir()
    if not zipfile.is_zipfile(place):
        place.replace(made / place.name)
        return []
    unzip(place, made, progress=progress)
    return [run.relative_to(made) for run in _laid_out(made, place.stem)]


def _laid_out(made: Path, name: str) -> list[Path]:
    """Rename folders that hold both cameras' frames to ``<class>_b0_0``; return them.

    Raises:
        InputError: Two would have one name.
    """
    shutil.rmtree(made / "__MACOSX", ignore_errors=True)  # what macOS packs beside the files, by the same names
    inside = {high.parent for high in made.rglob(_CAMERAS[1]) if (high.parent / _CAMERAS[0]).is_dir()}
    found = sorted(run for run in inside if not inside.intersection(run.parents))
    runs = []
    for run in found:
        if run == made:  # both lie at the top: the class is the archive
            target = made / f"{name}_b0_0"
            target.mkdir()
            for camera in _CAMERAS:
                (made / camera).rename(target / camera)
        else:
            target = run if _LAID_OUT.fullmatch(run.name) else run.with_name(f"{run.name}_b0_0")
            if target != run and target.exists():
                raise InputError(f"holds two runs that are called {target.name}", path=target.relative_to(made))
            run.rename(target)
        runs.append(target)
    return runs


def _moved(made: Path, output: Path, *, overwrite: bool) -> list[Path]:
    """Move what was unpacked into the folder, each entry at once.

    Raises:
        OutputError: Something of that name is there, or the folder cannot be written to.
    """
    entries = sorted(made.iterdir())
    there = [entry.name for entry in entries if (output / entry.name).exists()]
    if there and not overwrite:
        raise OutputError("exists already", path=output / there[0], remedy="add --overwrite to replace it")
    try:
        output.mkdir(parents=True, exist_ok=True)
        for entry in entries:
            target = output / entry.name
            if target.exists():
                target.rename(made.with_name(f"replaced-{entry.name}"))
            entry.rename(target)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=output) from error
    return [output / entry.name for entry in entries]
