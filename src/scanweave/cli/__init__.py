"""The command line: one small file per command, nothing but parsing, a call, and printing."""

from __future__ import annotations

import importlib
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from types import FrameType

from .._version import __version__
from ..errors import Interrupted, OutputError, ResourceError, ScanweaveError, UsageError

COMMANDS = {
    "interpolate": "slow a run down, or resample it: frames between the acquired ones",
    "trust": "hide acquired frames, make them again, and report how wrong they are",
    "deform": "deformed copies of scans with their labels and fields, without folds; QC sheet",
    "apply-field": "deform a further image, or further labels, by a field that deform wrote",
    "synthesize": "another MR contrast, thinner slices, or both, in the subject's units and place",
    "fuse": "the sharp frames that a slow x-ray camera missed, from those of a coarse but fast one beside it",
    "calibrate": "where a fast and a sharp camera's pixels and clocks agree: by a grid, or by the scene itself",
    "info": "say what is in a file: frames, times, regions, oddities",
    "prepare": "make a training set of DICOM, videos or folders of frames, split by patient; verify one",
    "train": "train a network on your own data, on one device or many machines; resumable",
    "evaluate": "score methods and weights on runs or test sets, as published or better, with every baseline",
    "weights": "list, inspect, verify, convert and export files of network weights",
    "as-published": "the published programs' own files, to compare with; their commands, said in our words",
    "demo": "slow the real echo that comes with pydicom, with film and report",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code (see `scanweave.errors`)."""
    args = list(sys.argv[1:] if argv is None else argv)
    if not args or args[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"scanweave {__version__}")
        return 0
    debug = "--debug" in args
    signal.signal(signal.SIGTERM, _terminated)
    os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")  # what it warns of, a damaged picture, our error names
    try:
        if args[0] not in COMMANDS:
            raise UsageError(f"no command is called {args[0]!r}", remedy=f"choose one of {', '.join(COMMANDS)}")
        command = importlib.import_module(f".{args[0].replace('-', '_')}", __name__)
        return int(command.main(args[1:]))
    except BrokenPipeError:
        # The reader of our output went away (`scanweave info ... | head`): nothing is wrong.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return _fail(Interrupted("interrupted"), debug=debug)
    except MemoryError:
        return _fail(ResourceError("out of memory", remedy="close other programs or use smaller frames"), debug=debug)
    except ScanweaveError as error:
        return _fail(error, debug=debug)
    except OSError as error:
        return _fail(OutputError(error.strerror or str(error), path=error.filename), debug=debug)
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
        return _fail(
            ScanweaveError(problem, remedy="this is a fault of scanweave: report it with --debug"), debug=debug
        )


def _fail(error: ScanweaveError, *, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    print(f"scanweave: error: {error}", file=sys.stderr)
    return error.exit_code


def _terminated(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [
        "usage: scanweave COMMAND ...",
        "",
        "Makes the images that a scanner did not acquire, from those it did, and says how far each can be trusted.",
        "Research use only.",
        "",
        *(f"  {name:<{width}}  {text}" for name, text in COMMANDS.items()),
        "",
        "scanweave COMMAND --help tells the rest; scanweave --version the version.",
    ]
    return "\n".join(lines)
