"""Tiles against the whole."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from scanweave.ops.tiling import in_tiles, tiles_of


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@given(
    units=st.integers(1, 40),
    multiple=st.sampled_from([1, 4, 16]),
    allowed=st.integers(1, 12),
    margin=st.integers(0, 30),
)
def test_stretches_cover_the_axis_once(units, multiple, allowed, margin):
    length = units * multiple
    tiles = tiles_of(length, core=allowed * multiple, margin=margin, multiple=multiple)
    assert [tile.start for tile in tiles] == [0, *(tile.stop for tile in tiles[:-1])]
    assert tiles[-1].stop == length
    for tile in tiles:
        assert 0 < tile.stop - tile.start <= allowed * multiple
        assert all(edge % multiple == 0 for edge in tile)
        assert tile.seen_start == 0 or tile.start - tile.seen_start >= margin
        assert tile.seen_stop == length or tile.seen_stop - tile.stop >= margin
    assert len(tiles) == -(-units // allowed)


class Pyramid(nn.Module):
    """Two halvings and two doublings with a second input at half the size; sees less than 16 pixels."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 4, 3, stride=2, padding=1)
        self.deep = nn.Conv2d(6, 4, 3, stride=2, padding=1)
        self.up = nn.ConvTranspose2d(4, 4, 4, stride=4)

    def forward(self, frame: torch.Tensor, half: torch.Tensor) -> torch.Tensor:
        x = self.down(torch.relu(self.first(frame)))
        return self.up(torch.relu(self.deep(torch.cat((x, half), dim=1))))


@given(rows=st.integers(1, 6), columns=st.integers(1, 6), core=st.sampled_from([8, 16, 40]))
@settings(deadline=None, max_examples=25)
def test_tiled_is_untiled(rows, columns, core):
    frame, half = torch.randn(2, 2, 8 * rows, 8 * columns), torch.randn(2, 2, 4 * rows, 4 * columns)
    network = Pyramid()
    tiled = in_tiles(network, [frame, half], core=core, margin=16, multiple=8)
    torch.testing.assert_close(tiled, network(frame, half), atol=1e-6, rtol=0)


def test_too_small_a_margin_shows():
    frame, half = torch.randn(1, 2, 64, 64), torch.randn(1, 2, 32, 32)
    network = Pyramid()
    difference = in_tiles(network, [frame, half], core=16, margin=0, multiple=8) - network(frame, half)
    assert difference.abs().max() > 1e-3


def test_only_tiles_are_seen():
    seen = []

    def note(frame: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(frame.shape[2:]))
        return frame

    frame = torch.randn(1, 1, 64, 96)
    assert torch.equal(in_tiles(note, [frame], core=32, margin=8, multiple=8), frame)
    assert len(seen) == 6
    assert max(seen) == (40, 48)


@pytest.mark.parametrize(
    ("shapes", "core"),
    [([(64, 60)], 32), ([(64, 64)], 4), ([(64, 64), (32, 16)], 32), ([(64, 64), (4, 4)], 32), ([(64, 64), (0, 0)], 32)],
)
def test_sizes_that_do_not_go_together(shapes, core):
    maps = [torch.zeros(1, 1, *shape) for shape in shapes]
    with pytest.raises(ValueError, match=r"cannot be divided|no fraction"):
        in_tiles(lambda *items: items[0], maps, core=core, margin=8, multiple=8)
