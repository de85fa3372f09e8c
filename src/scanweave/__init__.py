"""scanweave makes the images that a scanner did not acquire, from those it did, and says how far to trust each."""

from ._version import __version__

__all__ = ["__version__"]
