"""A file from the web, whole or absent: resumed where a connection broke off, its checksum verified.

What has arrived lies in ``PLACE.part``, and in ``PLACE.part.json`` what the server told of the file. A later call goes
on from there with a range request that holds only if the file is still the same (RFC 9110, sections 13.1.5 and 14):
with a strong ETag, or the date of its last change. Where the server tells neither, a checksum must, or it starts again.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import InputError, OutputError, ResourceError, UsageError
from .files import atomic_output

Progress = Callable[[int, int], None]

_BLOCK = 1 << 18
_AGAIN = "run the same again: it goes on where it stopped"


@dataclass(frozen=True)
class Download:
    """A file that has arrived.

    Attributes:
        path: Where it lies.
        size: Bytes.
        sha256: Of its bytes, hexadecimal.
        resumed: Bytes that an earlier call had brought.
    """

    path: Path
    size: int
    sha256: str
    resumed: int = 0


@dataclass(frozen=True, kw_only=True)
class _Told:
    """What a server told of a file, by which it is known again."""

    url: str
    etag: str = ""
    modified: str = ""
    size: int | None = None

    @property
    def validator(self) -> str:
        """What a range request is held to; empty where nothing is strong enough."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.modified


def download(
    url: str,
    place: Path,
    *,
    sha256: str | None = None,
    attempts: int = 5,
    pause: float = 1.0,
    timeout: float = 30.0,
    progress: Progress | None = None,
) -> Download:
    """Fetch a file.

    Args:
        url: Of http or https.
        place: Where it shall lie; one that is there is replaced.
        sha256: What its bytes must hash to, hexadecimal.
        attempts: How often a connection may break off without bringing anything new.
        pause: Seconds before another attempt.
        timeout: Seconds of silence after which a connection counts as broken.
        progress: Told bytes so far, and in all (0 where the server does not say).

    Raises:
        UsageError: Another protocol, or a checksum that is none.
        InputError: The server refuses, cannot be reached or breaks off, or the checksum differs.
        ResourceError: The disk has no room for it.
        OutputError: It cannot be written.

    Example:
        >>> download("file:///etc/hostname", Path("here"))
        Traceback (most recent call last):
        ...
        scanweave.errors.UsageError: file:///etc/hostname is no address of http or https (give one that ...)
    """
    check_address(url, sha256)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        part = _Part(place, _Told(url=url), sha256)
    except OSError as error:
        raise OutputError(f"cannot be written: {error.strerror or error}", path=place) from error
    left = attempts
    while True:
        before = part.bytes_here()
        try:
            part.fetch(timeout, progress)
            break
        except (http.client.HTTPException, OSError) as error:
            # a connection that brings something each time is slow, not dead
            left = attempts if part.bytes_here() > before else left - 1
            if left <= 0:
                raise InputError(
                    f"the connection broke off after {part.bytes_here()} bytes: {_said(error)}", path=url, remedy=_AGAIN
                ) from error
            time.sleep(pause)
    return part.finished()


def check_address(url: str, sha256: str | None = None) -> None:
    """Refuse an address of another protocol than http and https, and a checksum that is none.

    Raises:
        UsageError: As said.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{url} is no address of http or https", remedy="give one that begins with https://")
    if sha256 is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", sha256):
        raise UsageError(f"{sha256!r} is no SHA-256", remedy="give its 64 hexadecimal digits")


class _Part:
    """The part of a file that has arrived."""

    def __init__(self, place: Path, told: _Told, sha256: str | None) -> None:
        self._place, self._told, self._sha256 = place, told, sha256
        self._part = place.with_name(place.name + ".part")
        self._key = place.with_name(place.name + ".part.json")
        self._resumed: int | None = None
        known = self._known()
        if known is None or known.url != told.url or not (known.validator or sha256):
            self._remove()
        else:
            self._told = known

    def bytes_here(self) -> int:
        """Return how many have arrived."""
        return self._part.stat().st_size if self._part.exists() else 0

    def fetch(self, timeout: float, progress: Progress | None) -> None:
        """Fetch what is missing.

        Raises:
            InputError: The server refuses.
            OSError, HTTPException: The connection broke off.
        """
        here = self.bytes_here()
        if here and here == self._told.size:
            return
        headers = {"User-Agent": "scanweave", "Accept-Encoding": "identity"}
        if here:
            headers["Range"] = f"bytes={here}-"
            if self._told.validator:
                headers["If-Range"] = self._told.validator
        try:
            answer = _opener().open(urllib.request.Request(self._told.url, headers=headers), timeout=timeout)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # it has shrunk since, or what is here is all of it and nobody said how much that is
                self._remove()
                raise ConnectionError("the file has changed on the server") from error
            if error.code >= 500 or error.code == 429:
                raise ConnectionError(f"{error.code} {error.reason}") from error
            raise InputError(
                f"the server answers {error.code} {error.reason}", path=self._told.url, remedy="check the address"
            ) from error
        with answer:
            self._take(answer, here, progress)

    def finished(self) -> Download:
        """Verify the checksum, and put the file into its place.

        Raises:
            InputError: The checksum differs; what has arrived is thrown away, since going on would not mend it.
        """
        with self._part.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        if self._sha256 is not None and found != self._sha256.lower():
            self._remove()
            raise InputError(
                f"its SHA-256 is {found}, {self._sha256.lower()} expected; nothing of it was kept",
                path=self._told.url,
                remedy="check the address and the checksum, and fetch it again",
            )
        size = self.bytes_here()
        self._part.replace(self._place)
        self._key.unlink(missing_ok=True)
        return Download(self._place, size, found, size if self._resumed is None else self._resumed)

    def _take(self, answer: Any, here: int, progress: Progress | None) -> None:
        """Write what a server sends after what is here, or in its place if it sends all."""
        start, size = _extent(answer, here)
        if start not in (0, here):
            raise http.client.HTTPException(f"bytes from {start} came, from {here} were asked for")
        if self._resumed is None:
            self._resumed = start
        url, headers = self._told.url, answer.headers
        told = _Told(url=url, etag=headers.get("ETag", ""), modified=headers.get("Last-Modified", ""), size=size)
        self._make_room((size or 0) - start)
        try:
            if start == 0:
                # before the key: another file's bytes are never taken for this one's
                self._part.unlink(missing_ok=True)
            with atomic_output(self._key) as key:
                key.write_text(json.dumps(asdict(told)), encoding="utf-8")
            stream = self._part.open("ab")
        except OSError as error:
            raise self._unwritable(error) from error
        self._told = told
        with stream:
            arrived = start
            while block := answer.read(_BLOCK):
                try:
                    stream.write(block)
                    stream.flush()
                except OSError as error:
                    raise self._unwritable(error) from error
                arrived += len(block)
                if progress is not None:
                    progress(arrived, size or 0)
        if size is not None and arrived != size:
            raise http.client.HTTPException(f"{arrived} of {size} bytes came")

    def _make_room(self, needed: int) -> None:
        free = shutil.disk_usage(self._place.parent).free
        if needed > free:
            raise ResourceError(
                f"{needed / 1e6:.0f} MB are to come, the disk has {free / 1e6:.0f} MB left",
                path=self._place.parent,
                remedy="free some space, or write elsewhere with -o",
            )

    def _unwritable(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot be written: {error.strerror or error}",
            path=self._part,
            remedy="free some space, or choose a folder that you may write to with -o; what has arrived is kept",
        )

    def _known(self) -> _Told | None:
        try:
            content = json.loads(self._key.read_text(encoding="utf-8"))
            return _Told(**content) if self._part.is_file() else None
        except (OSError, ValueError, TypeError):
            return None

    def _remove(self) -> None:
        self._part.unlink(missing_ok=True)
        self._key.unlink(missing_ok=True)


def _extent(answer: Any, here: int) -> tuple[int, int | None]:
    """Return the first byte that an answer brings, and the size of the whole file if it says so."""
    length = answer.headers.get("Content-Length")
    if answer.status != http.client.PARTIAL_CONTENT:
        return 0, int(length) if length and length.isdecimal() else None
    told = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("Content-Range", "").strip())
    if told is None:
        raise http.client.HTTPException("a part came without saying which")
    return int(told[1]), None if told[2] == "*" else int(told[2])


def _opener() -> urllib.request.OpenerDirector:
    """Return what opens http and https, and follows redirections to no other protocol."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPRedirectHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        urllib.request.UnknownHandler,
    ):
        opener.add_handler(handler())
    return opener


def _said(error: Exception) -> str:
    reason = getattr(error, "reason", None) or error
    return str(getattr(reason, "strerror", None) or reason) or type(error).__name__
