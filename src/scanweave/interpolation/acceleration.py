"""How a network runs fast: precision, tiles, and transfers that do not wait."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from ..ops import in_tiles

Precision = Literal["float32", "bfloat16", "float16"]

LARGEST_WHOLE = 1 << 20
"""Frames of up to so many pixels (1024 squared) are not tiled unless that is asked for."""

AUTO_CORE = 1024
"""What one tile contributes of larger frames, at most."""

_PIXELS_AT_ONCE = {"cpu": 1 << 16, "cuda": 1 << 22, "mps": 1 << 20}


class Lowered(nn.Module):
    """A part of a network whose convolutions run in 16 bits; it takes and gives float32."""

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part, self.dtype = part, dtype

    def forward(self, *args: Tensor | Sequence[Tensor]) -> Tensor:
        """Run the part; its arguments are tensors or lists of them."""
        first = args[0] if isinstance(args[0], Tensor) else args[0][0]
        with torch.autocast(first.device.type, self.dtype):
            out: Tensor = self.part(*args)
        return out.float()


class Tiled(nn.Module):
    """A U-Net that takes large frames in tiles, each seen as far around as the U-Net looks: the same numbers.

    Args:
        part: From maps of one size, and lists of maps that it looks up at places of the whole frame, to one map of the
            first's size.
        tile: Side of what one tile contributes; ``auto`` tiles only frames of more than `LARGEST_WHOLE` pixels.
        margin: How far around a tile is looked.
        multiple: What sides and places of tiles must be multiples of.
    """

    def __init__(self, part: nn.Module, *, tile: Literal["auto"] | int, margin: int, multiple: int) -> None:
        super().__init__()
        self.part, self.tile, self.margin, self.multiple = part, tile, margin, multiple

    def forward(self, first: Tensor, *others: Tensor | Sequence[Tensor]) -> Tensor:
        """Run the U-Net on ``(B, C, H, W)``, maps of that size, which are cut, and lists, which are not."""
        rows, columns = first.shape[-2:]
        core = self.tile if self.tile != "auto" else AUTO_CORE if rows * columns > LARGEST_WHOLE else 0
        if core == 0 or max(rows, columns) <= core:
            out: Tensor = self.part(first, *others)
            return out

        def run(*seen: Tensor) -> Tensor:
            cut = iter(seen[1:])
            part: Tensor = self.part(seen[0], *(next(cut) if isinstance(item, Tensor) else item for item in others))
            return part

        maps = [first, *(item for item in others if isinstance(item, Tensor))]
        return in_tiles(run, maps, core=core, margin=self.margin, multiple=self.multiple)


def wrap(network: nn.Module, paths: Sequence[str], wrapper: Callable[[nn.Module], nn.Module]) -> None:
    """Replace the submodules of `network` at `paths` by what `wrapper` makes of them."""
    for path in paths:
        network.set_submodule(path, wrapper(network.get_submodule(path)))


def times_at_once(pixels: int, device: torch.device) -> int:
    """Return how many frames of `pixels` are made as one batch: bounds memory."""
    return max(1, _PIXELS_AT_ONCE[device.type] // pixels)


def to_device(frame: Tensor, device: torch.device) -> Tensor:
    """Send a frame; to a GPU from pinned memory, without waiting, channels last."""
    if device.type != "cuda":
        return frame.to(device)
    pinned = frame.contiguous(memory_format=torch.channels_last).pin_memory()
    return pinned.to(device, non_blocking=True)


def to_host(result: Tensor) -> Tensor:
    """Fetch a result as float32; from a GPU into pinned memory without waiting: :func:`finish` before it is read."""
    if result.device.type != "cuda":
        return result.to("cpu", torch.float32)
    pinned = torch.empty(result.shape, dtype=torch.float32, pin_memory=True)
    return pinned.copy_(result, non_blocking=True)


def finish(device: torch.device) -> None:
    """Wait until everything that was sent to or from `device` is there."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
