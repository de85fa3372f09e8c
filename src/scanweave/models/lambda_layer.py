"""The inter-frame lambda layer of MoSt-DSA: each frame's pixels query the content and the positions of the other frame.

A lambda layer turns its context into one small matrix per query position, so that no attention map is ever formed.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..ops.channels import laid_channels_last


class LambdaLayer(nn.Module):
    """Inter-frame lambda layer: each frame's pixels query the content and the positions of the other frame.

    Args:
        channels: Channels of the tokens, C = heads x v.
        motion: Channels of the motion map.
        heads: Queries per pixel, H.
        key: Length of a query, k.
        intra: Context maps per key, u.
        context: Side of the square that a position lambda sees.
        map_side: See `scanweave.models.most_dsa.MostDsaConfig`.

    Source: MoSt-DSA, section 3.2, after Bello, "LambdaNetworks", ICLR 2021.
    """

    def __init__(
        self, channels: int, motion: int, *, heads: int, key: int, intra: int, context: int, map_side: int | None = None
    ) -> None:
        super().__init__()
        self.heads, self.key, self.intra, self.map_side = heads, key, intra, map_side
        value = channels // heads
        self.to_q = nn.Conv2d(channels, heads * key, 1, bias=False)
        self.to_k = nn.Conv2d(channels, intra * key, 1, bias=False)
        self.to_v = nn.Conv2d(channels, intra * value, 1, bias=False)
        self.norm_q = nn.BatchNorm2d(heads * key)
        self.norm_v = nn.BatchNorm2d(intra * value)
        if map_side is None:
            # Three-dimensional in name only (the value axis has kernel 1): the shape that checkpoints hold.
            self.pos_conv = nn.Conv3d(intra, key, (1, context, context), padding=(0, context // 2, context // 2))
        else:
            self.rel_pos_emb = nn.Parameter(torch.empty(2 * map_side - 1, 2 * map_side - 1, key, intra))
            nn.init.normal_(self.rel_pos_emb)
        self.cor_embed = nn.Conv2d(2, heads * key, 1)
        self.channel_compress = nn.Conv2d(channels, heads * key, 1, bias=False)
        self.motion_proj = nn.Conv2d(heads * key, motion, 1)

    def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Return appearance ``(2B, h, w, C)`` and motion ``(2B, h, w, M)`` for tokens ``(2B, h, w, C)``."""
        x = to_map(tokens)
        batch, _, rows, columns = x.shape
        content, position = self.lambdas(*self.context_of(x))
        queries = self.norm_q(self.to_q(x))
        places = self.cor_embed(_coordinates(x)).expand(batch, -1, -1, -1)
        asked = to_tokens(torch.cat((queries, places), dim=1)).reshape(batch, -1, self.key)  # (2B, n x 2H, k)
        told = (position + content[:, None]).flatten(0, 1)
        answers = torch.bmm(asked.view(-1, 2 * self.heads, self.key), told)
        appearance, moved = answers.view(batch, rows, columns, -1).chunk(2, dim=-1)
        motion = self.motion_proj(self.channel_compress(to_map(moved)) - places)
        return appearance, to_tokens(motion)

    def context_of(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return each frame's keys ``(2B, u, k, n)`` and values ``(2B, u, v, h, w)``, taken from the other frame."""
        pairs = x.shape[0] // 2
        keys = self.to_k(x).roll(pairs, dims=0).unflatten(1, (self.intra, self.key)).flatten(3).softmax(dim=-1)
        values = self.norm_v(self.to_v(x)).roll(pairs, dims=0).unflatten(1, (self.intra, -1))
        return keys, values

    def lambdas(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return content lambdas, ``(2B, k, v)``, and position lambdas, ``(2B, n, k, v)``; a pixel is told by both."""
        content = torch.einsum("bukn,buvn->bkv", keys, values.flatten(3))
        position = self._filtered(values) if self.map_side is None else self._looked_up(values, self.map_side)
        return content, position

    def _filtered(self, values: Tensor) -> Tensor:
        """Position lambdas learnt as filters: each value channel is an image of its own."""
        batch, _, count, rows, columns = values.shape
        images = values.transpose(1, 2).reshape(batch * count, self.intra, rows, columns)
        conv = self.pos_conv
        kernel = laid_channels_last(conv.weight.squeeze(2))  # what it gives then has a pixel's k numbers side by side
        position = F.conv2d(images, kernel, conv.bias, padding=conv.kernel_size[1] // 2)
        tokens = to_tokens(position).reshape(batch, count, rows * columns, self.key)
        return tokens.transpose(1, 2).contiguous().transpose(2, 3)

    def _looked_up(self, values: Tensor, side: int) -> Tensor:
        """Position lambdas learnt as a table of relative positions, for maps of `side` x `side`."""
        if values.shape[3:] != (side, side):
            raise ValueError(f"these weights serve maps of {side} x {side} only, not {tuple(values.shape[3:])}")
        place = torch.arange(side, device=values.device)
        offset = place[None, :] - place[:, None] + side - 1  # [query, context]
        table = self.rel_pos_emb[offset[:, None, :, None], offset[None, :, None, :]]  # y, x, i, j, k, u
        return torch.einsum("yxijku,buvij->byxkv", table, values).flatten(1, 2)


def _coordinates(x: Tensor) -> Tensor:
    """Return ``(1, 2, h, w)``: column, then row, from -1 to 1."""

    def spread(count: int) -> Tensor:  # not linspace: exporting that would fix the count
        return torch.arange(count, dtype=x.dtype, device=x.device) * (2 / max(count - 1, 1)) - 1

    rows, columns = x.shape[2:]
    across, down = spread(columns).expand(rows, columns), spread(rows)[:, None].expand(rows, columns)
    return torch.stack((across, down)).unsqueeze(0)


def to_map(tokens: Tensor) -> Tensor:
    """``(B, h, w, C)`` as ``(B, C, h, w)``."""
    return tokens.permute(0, 3, 1, 2)


def to_tokens(image: Tensor) -> Tensor:
    """``(B, C, h, w)`` as ``(B, h, w, C)``."""
    return image.permute(0, 2, 3, 1)
