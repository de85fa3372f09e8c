"""Decoding compressed frames in a process of its own (see `scanweave.io.dicom.codec_worker`)."""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ResourceError
from .codec_worker import receive, send

# No codec needs nearly as long for one frame; one that does has lost its way in damaged data.
_SECONDS_PER_FRAME = 60.0


class DecodingError(ValueError):
    """The frame cannot be decoded; the text says what the codec said."""


class _Worker:
    """The worker process, started when first needed and again after it died."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def decode(self, encoded: bytes, options: dict[str, Any]) -> tuple[NDArray[Any], list[str]]:
        with self._lock:
            process = self._running()
            assert process.stdin is not None and process.stdout is not None
            watchdog = threading.Timer(_SECONDS_PER_FRAME, process.kill)
            watchdog.start()
            try:
                send(process.stdin, options, encoded)
                message, payload = receive(process.stdout)
            except (OSError, EOFError) as error:
                self._end()
                raise DecodingError("the codec broke down on it") from error
            except BaseException:  # interrupted between request and reply: the pipe is out of step
                self._end()
                raise
            finally:
                watchdog.cancel()
        if "error" in message:
            raise DecodingError(" ".join(str(message["error"]).split()))
        return np.frombuffer(payload, message["dtype"]).reshape(message["shape"]), message["warnings"]

    def _running(self) -> subprocess.Popen[bytes]:
        # After a fork the pipes belong to the parent: two processes must not talk through them.
        if self._process is None or self._owner != os.getpid() or self._process.poll() is not None:
            package_home = str(Path(__file__).resolve().parents[3])
            path = os.pathsep.join(filter(None, (package_home, os.environ.get("PYTHONPATH"))))
            try:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "scanweave.io.dicom.codec_worker"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    env={**os.environ, "PYTHONPATH": path},
                )
            except OSError as error:
                raise ResourceError(f"the decoding process cannot be started: {error}") from error
            self._owner = os.getpid()
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None and self._owner == os.getpid():
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End the process, if it runs."""
        with self._lock:
            self._end()


_worker = _Worker()
atexit.register(_worker.close)


def decode_frame(encoded: bytes, options: dict[str, Any]) -> tuple[NDArray[Any], list[str]]:
    """Decode one compressed frame, equal to what pydicom gives by default.

    Args:
        encoded: The frame's bytes.
        options: Pixel description as `pydicom.pixels.utils.as_pixel_options` names it, JSON types only.

    Returns:
        The frame ``(row, column[, 3])``, and pydicom's warnings about it.

    Raises:
        DecodingError: The stream is damaged, or crashed its codec, or took it longer than a minute.
        ResourceError: The process cannot be started.
    """
    return _worker.decode(encoded, options)
