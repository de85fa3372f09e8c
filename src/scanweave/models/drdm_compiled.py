"""DRDM's network in 2D with its passes compiled: the same numbers but for rounding, in three quarters of the time."""

from __future__ import annotations

import ctypes
import threading
import warnings
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import ResourceError
from ..ops.eager import plain_cpu
from ..ops.native import library
from .drdm import AtrousBlock, Drdm, InstanceNorm, Times

_SOURCE = Path(__file__).with_name("drdm_pass.cpp")
_HALVES = ((1, 3), (2, 0))
"""Rows (columns) of a transposed kernel of 4 that make even and odd pixels: from the pixel itself, and from the one
before or after."""


class CompileWarning(UserWarning):
    """A network runs uncompiled, though that was asked for."""


def compiled(network: Drdm) -> Drdm:
    """Return a network like `network` whose passes are compiled C++; where that cannot be, `network` itself.

    Only plain inference of 2D images on a CPU gains; everything else runs as before. Weights are copied: it does not
    follow what `network` learns later.

    Warns:
        CompileWarning: There is no compiler, or the network is of 3D.
    """
    reason = "passes are compiled for images of two dimensions only" if network.config.ndims != 2 else None
    if reason is None:
        try:
            return CompiledDrdm(network)
        except ResourceError as error:
            reason = f"{error}"
    warnings.warn(f"the network runs uncompiled: {reason}", CompileWarning, stacklevel=2)
    return network


class CompiledDrdm(Drdm):
    """A 2D network that runs its passes by one C++ function in plain inference on a CPU.

    Results do not depend on how many images come together, nor on the number of threads.

    Raises:
        ResourceError: Nothing compiles here.
    """

    def __init__(self, network: Drdm) -> None:
        super().__init__(network.config)
        self.load_state_dict(network.state_dict())
        self.requires_grad_(False).train(network.training)
        _functions()
        self._packed = packed(self)
        self.register_load_state_dict_post_hook(_pack_anew)  # type: ignore[no-untyped-call]

    def once(self, image: Tensor, times: Times) -> Tensor:
        """Predict in a single pass, as :meth:`Drdm.once`."""
        if not plain_cpu(image, self.conv_out.weight, *times):
            return super().once(image, times)
        batch, channels, rows, columns = image.shape
        image, values = image.contiguous(), [time.flatten(1) for time in times]
        told = torch.cat([values[0].expand(-1, channels), *values[1:]], dim=1)  # one serves all channels of the image
        found, threads = image.new_empty(batch, 2, rows, columns), torch.get_num_threads()
        space = _space(channels, rows, columns, threads)
        for row in range(batch):
            _functions().drdm_pass(
                image[row].data_ptr(),
                channels,
                rows,
                columns,
                told[row].data_ptr(),
                self._packed.data_ptr(),
                space.data_ptr(),
                found[row].data_ptr(),
                threads,
            )
        return (found * rows).clamp_(1 - rows, rows - 1) / rows


def _pack_anew(network: nn.Module, missing: Any) -> None:
    assert isinstance(network, CompiledDrdm)
    network._packed = packed(network)


@cache
def _functions() -> ctypes.CDLL:
    functions = library(_SOURCE)
    whole, numbers = ctypes.c_int, ctypes.c_void_p
    functions.drdm_space.argtypes, functions.drdm_space.restype = [whole] * 4, ctypes.c_long
    functions.drdm_pass.argtypes = [numbers, whole, whole, whole, *[numbers] * 4, whole]
    functions.drdm_pass.restype = None
    return functions


class _Kept(threading.local):
    """The space of the last size, of each thread: margins are cleared once."""

    size: tuple[int, ...] = ()
    space: Tensor = torch.empty(0)


_kept = _Kept()


def _space(*size: int) -> Tensor:
    if _kept.size != size:
        _kept.size, _kept.space = size, torch.zeros(_functions().drdm_space(*size))
    return _kept.space


@torch.no_grad()
def packed(network: Drdm) -> Tensor:
    """Return the numbers of a network as the function takes them: in the order of use, kernels in tiles."""
    tile = _functions().drdm_tile()
    used = (network.b1, network.down1, network.b2, network.down2, network.b3, network.down3, network.b_mid)
    then = (network.up1, network.b4, network.up2, network.b5, network.up3, network.b_out, network.conv_out)
    parts = chain.from_iterable(_parts(stage, tile) for stage in (*used, *then))
    return torch.cat([part.detach().float().cpu().flatten() for part in parts])


def _parts(stage: nn.Module, tile: int) -> list[Tensor]:
    """Return the numbers of a stage, block or layer in the order of use."""
    if isinstance(stage, AtrousBlock):
        return [part for layer in (stage.conv0, stage.ln, *stage.convs) for part in _parts(layer, tile)]
    if isinstance(stage, nn.Sequential):
        return [part for block in stage for part in _parts(block, tile)]
    if isinstance(stage, InstanceNorm):
        return [stage.weight, stage.bias]
    if isinstance(stage, nn.ConvTranspose2d):  # (in, out, 4, 4): tile, parity of row, of column, in, tap, out
        phases = [stage.weight[:, :, rows][..., columns].flatten(2) for rows in _HALVES for columns in _HALVES]
        tiles = [torch.split(phase, tile, dim=1) for phase in phases]
        return [*(phase.transpose(1, 2).flatten() for one in zip(*tiles, strict=True) for phase in one), _bias(stage)]
    if isinstance(stage, nn.Conv2d):  # (out, in, k, k): tile, in, tap, out
        return [*(part.flatten(2).permute(1, 2, 0).flatten() for part in torch.split(stage.weight, tile)), _bias(stage)]
    return []


def _bias(layer: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    assert layer.bias is not None
    return layer.bias
