"""Warnings about networks, told as a command line tells things; apart, since it takes PyTorch to know them."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator

from ..models.drdm_compiled import CompileWarning
from ..weights import WeightsWarning


@contextlib.contextmanager
def network_warnings(*, silent: bool = False) -> Iterator[None]:
    """Print what is warned about networks as lines on standard error; `silent` where the answer says it itself."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore")
        for kind in (WeightsWarning, CompileWarning):
            warnings.simplefilter("always", kind)
        yield
    for told in {} if silent else dict.fromkeys(str(warning.message) for warning in caught):  # each once
        print(f"scanweave: warning: {told}", file=sys.stderr)
