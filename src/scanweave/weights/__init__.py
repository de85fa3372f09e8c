"""Files of weights to networks and back: safely, strictly, and with a card that says where they come from.

Example:
    >>> from scanweave import weights
    >>> network = weights.load_published("most-dsa", "Inf3.pkl")  # doctest: +SKIP
    >>> weights.card_of(network).trained_times  # doctest: +SKIP
    (0.25, 0.5, 0.75)
    >>> weights.save(network, "inf3.safetensors")  # doctest: +SKIP
"""

from __future__ import annotations

from .card import Card, Decision, WeightsWarning, card_of
from .catalogue import find, home, listed, load, open_weights, save, try_out
from .catalogue import open_weights as open
from .containers import read_card, read_content
from .onnx import export_onnx
from .published import LAYOUTS, Findings, examine, export_published, load_published

__all__ = [
    "LAYOUTS",
    "Card",
    "Decision",
    "Findings",
    "WeightsWarning",
    "card_of",
    "examine",
    "export_onnx",
    "export_published",
    "find",
    "home",
    "listed",
    "load",
    "load_published",
    "open",
    "open_weights",
    "read_card",
    "read_content",
    "save",
    "try_out",
]
