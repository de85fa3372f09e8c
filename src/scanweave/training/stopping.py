"""A training that is told to stop finishes its step and saves first."""

from __future__ import annotations

import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_A_MOMENT = 1.0  # seconds that the processes of one job may hear of its end apart


class StopRequest:
    """Remembers that the user, or a scheduler that takes the machine back, asked to stop; asked again, stops at once.

    Used as a context, on the main thread; elsewhere it changes nothing.

    Args:
        answer: Tell the user that the request was heard.
    """

    def __init__(self, *, answer: bool = True) -> None:
        self.asked = False
        self._answer = answer
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopRequest:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._remember) for number in _SIGNALS}
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def comes(self) -> bool:
        """Say whether it was asked to stop, or is within a moment: others of a job may have been told first."""
        until = time.monotonic() + _A_MOMENT
        while not self.asked and time.monotonic() < until:
            try:
                time.sleep(_A_MOMENT / 20)
            except RuntimeError as error:
                # PyTorch raises wherever its signal finds us that a worker is gone: that is why we wait
                if "DataLoader worker" not in str(error):
                    raise
        return self.asked

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        if self._answer:
            print("stopping after this step; once more stops at once, without saving", file=sys.stderr)
