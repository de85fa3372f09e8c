"""The published programs' files, bit for bit up to one grey level."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from scanweave.cine import Cine
from scanweave.errors import InputError, ResourceError, UsageError
from scanweave.interpolation.api import interpolate
from scanweave.interpolation.published import most_dsa_frames, slow_motion_frames
from scanweave.models import SuperSlomo, SuperSlomoConfig
from scanweave.models.super_slomo import ADOBE_MEAN, ECHO_MEAN


def test_the_echo_program_end_to_end(vectors, slomo):
    golden = vectors("slowmo_echo/cli_75x100_sf3")
    made = np.stack(list(slow_motion_frames(golden["frames_u8"], slomo("half_pixel"), int(golden["sf"]))))
    assert made.shape == golden["out_u8"].shape
    difference = np.abs(made.astype(int) - golden["out_u8"])
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


@pytest.mark.parametrize(("mean", "name"), [(ECHO_MEAN, "out_echo"), (ADOBE_MEAN, "out_adobe")])
def test_levels_fall_where_the_program_lets_them_fall(vectors, mean, name):
    golden = vectors("slowmo_echo/quantise_roundtrip")
    ramp = np.repeat(np.arange(256, dtype=np.uint8), 4).reshape(32, 32, 1)
    network = SuperSlomo.__new__(SuperSlomo)
    torch.nn.Module.__init__(network)
    network.mean = torch.tensor(mean).view(1, 3, 1, 1)
    (made,) = slow_motion_frames([np.repeat(ramp, 3, axis=2)], network, 4)
    levels = made.reshape(256, 4, 3)[:, 0]
    assert np.array_equal(levels, golden[name].reshape(levels.shape))


@pytest.mark.parametrize("inter_frames", [1, 2, 3])
def test_the_dsa_script_end_to_end(vectors, most_dsa, inter_frames):
    golden = vectors("most_dsa/inference_modes_45x70")
    # The vectors hold blue, green, red; files are read as red, green, blue.
    first, second = (golden[name][..., ::-1] for name in ("img0_u8", "img1_u8"))
    made = most_dsa_frames(first, second, most_dsa, inter_frames)
    files = golden[f"cli_files_{inter_frames}"]
    difference = np.abs(np.stack(made)[..., ::-1].astype(int) - files)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= 0.999


def test_what_the_programs_refuse_is_refused(most_dsa):
    picture = np.zeros((31, 64, 3), np.uint8)
    network = SuperSlomo(SuperSlomoConfig(warp_convention="half_pixel"))
    with pytest.raises(InputError, match="32"):
        list(slow_motion_frames([picture, picture], network, 2))
    with pytest.raises(UsageError, match="factor"):
        list(slow_motion_frames([picture], network, 0))
    with pytest.raises(UsageError, match="1, 2 or 3"):
        most_dsa_frames(picture, picture, most_dsa, 4)


class Still(SuperSlomo):
    """In place of the network, where only sizes and counts matter: the first frame at every time."""

    def __init__(self) -> None:
        torch.nn.Module.__init__(self)
        self.mean = torch.zeros(1, 3, 1, 1)
        self.seen: list[tuple[int, int]] = []

    def encode(self, frame0, frame1):
        self.seen.append((frame0.shape[3], frame0.shape[2]))
        return frame0

    def decode(self, pair, times):
        return pair.unsqueeze(1).expand(-1, len(times), -1, -1, -1)


@pytest.fixture(scope="module")
def rules(goldens):
    return json.loads((goldens / "slowmo_echo" / "rules.json").read_text())


def test_as_many_frames_as_published(rules):
    for rule in rules["frame_counts"]:
        pictures = [np.zeros((32, 32, 3), np.uint8)] * rule["frames"]
        assert len(list(slow_motion_frames(pictures, Still(), rule["sf"]))) == rule["out"], rule
        cine = Cine.from_array(np.zeros((rule["frames"], 8, 8), np.uint8), fps=30)
        assert len(interpolate(cine, factor=rule["sf"], method="hold", confidence="off")) == rule["out"], rule


def test_sizes_are_those_that_the_program_shrinks_to(rules):
    for rule in rules["network_sizes"]:
        columns, rows = rule["image"]
        pictures, network = [np.zeros((rows, columns, 3), np.uint8)] * 2, Still()
        if 0 in rule["network"]:
            with pytest.raises(InputError, match="32"):
                list(slow_motion_frames(pictures, network, 2))
        else:
            made = list(slow_motion_frames(pictures, network, 2))
            assert network.seen == [tuple(rule["network"])]
            assert made[1].shape == (rows, columns, 3)


class Greedy(Still):
    """Asks for more memory than there is."""

    def decode(self, pair, times):
        return torch.empty(1 << 48) + pair


@pytest.mark.parametrize(
    "make",
    [
        lambda network, picture: list(slow_motion_frames([picture, picture], network, 2)),
        lambda network, picture: most_dsa_frames(picture, picture, network, 1),
    ],
)
def test_memory_that_gives_out_is_named(make):
    with pytest.raises(ResourceError, match=r"memory gave out.*`scanweave interpolate --tile 256` does not") as refusal:
        make(Greedy(), np.zeros((32, 32, 3), np.uint8))
    assert refusal.value.exit_code == 7


class Counting(Still):
    """Notes how many frames it is asked for at once."""

    def decode(self, pair, times):
        self.seen.append((len(times), len(pair)))
        return super().decode(pair, times)


def test_times_are_made_in_batches_that_memory_bounds():
    """On frames of 160 x 160 two at once, which are both ways of one time, or two times of one way."""
    picture, echo, dsa = np.zeros((160, 160, 3), np.uint8), Counting(), Counting()
    assert len(list(slow_motion_frames([picture, picture], echo, 6))) == 7
    assert echo.seen[1:] == [(2, 1), (2, 1), (1, 1)]
    assert len(most_dsa_frames(picture, picture, dsa, 3)) == 3
    assert dsa.seen[1:] == [(1, 2)] * 3
