"""Training samples from simulation."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch

from scanweave.errors import InputError, UsageError
from scanweave.simulate import EchoConfig, PairsConfig, SimulatedPairs, StillConfig, render
from scanweave.training import Samples

SIZE = (32, 48)
STILL = np.random.default_rng(0).random((60, 60, 3), dtype=np.float32)
ALL = {"angiography": 1.0, "echo": 2.0, "still": 1.0}


def source(**changes) -> SimulatedPairs:
    return SimulatedPairs(PairsConfig(**({"size": SIZE, "mix": ALL, "length": 12} | changes)), images=[STILL])


def test_it_is_a_source_of_samples():
    pairs: Samples = source()
    assert len(pairs) == 12
    assert len(SimulatedPairs()) == PairsConfig().length


@pytest.mark.parametrize("index", range(6))
def test_every_sample_has_the_same_shapes(index):
    pairs = source(times=(0.25, 0.5, 0.75))
    sample = pairs.make(pairs.draw(index, generator=np.random.default_rng(index)))
    shapes = {"frame0": (3, *SIZE), "frame1": (3, *SIZE), "targets": (3, 3, *SIZE), "times": (3,)}
    assert {key: tuple(value.shape) for key, value in sample.items()} == shapes
    for value in sample.values():
        assert value.dtype == torch.float32
        assert value.is_contiguous()
        assert 0 <= value.min() <= value.max() <= 1
    torch.testing.assert_close(sample["times"], torch.tensor([0.25, 0.5, 0.75]))


@pytest.mark.parametrize("scene", sorted(ALL))
def test_truth_at_the_ends_is_the_frames_themselves(scene):
    pairs = source(mix={scene: 1.0}, times=(0.0, 0.5, 1.0), noisy_targets=True)
    sample = pairs.make(pairs.draw(0, generator=np.random.default_rng(1)))
    assert torch.equal(sample["targets"][0], sample["frame0"])
    assert torch.equal(sample["targets"][2], sample["frame1"])
    assert not torch.equal(sample["targets"][1], sample["frame0"])


def test_targets_are_the_frames_of_the_scene_at_their_times():
    pairs = source(mix={"echo": 1.0}, times=None, random_times=2)
    drawn = pairs.draw(0, generator=np.random.default_rng(2))
    sample = pairs.make(drawn)
    start, end = drawn["ends"]
    assert drawn["times"] == sorted(drawn["times"])
    expected = render(drawn["params"], [start + t * (end - start) for t in drawn["times"]], noise=False)
    for channel in range(3):
        np.testing.assert_array_equal(sample["targets"][:, channel].numpy(), expected)


def test_json_replays_a_sample():
    pairs = source(times=None, random_times=3)
    for index in range(4):
        drawn = pairs.draw(index, generator=np.random.default_rng(index))
        one, other = pairs.make(drawn), source(times=None).make(json.loads(json.dumps(drawn)))
        for key in one:
            assert torch.equal(one[key], other[key]), key


def test_gaps_scenes_and_direction_are_drawn_as_configured():
    pairs = source(gap=(2.0, 3.0), reverse=1.0, echo=EchoConfig(frame_rate=(50, 50)))
    generator = np.random.default_rng(3)
    seen = []
    for index in range(40):
        drawn = pairs.draw(index, generator=generator)
        start, end = drawn["ends"]
        params = drawn["params"]
        assert 2.0 <= (start - end) / params["frame_interval"] * (1 + 1e-9) <= 3.0 + 1e-6
        assert params["start"] - 1e-9 <= end
        seen.append(params["scene"])
        if params["scene"] == "echo":
            assert params["frame_interval"] == pytest.approx(0.02)
    assert set(seen) == set(ALL)
    assert seen.count("echo") > 12


def test_colour_stills_stay_colour_and_grey_is_repeated():
    colour = source(mix={"still": 1.0}, still=StillConfig(marks=0))
    frame = colour.make(colour.draw(0, generator=np.random.default_rng(0)))["frame0"]
    assert not torch.equal(frame[0], frame[1])
    grey = source(mix={"echo": 1.0})
    frame = grey.make(grey.draw(0, generator=np.random.default_rng(0)))["frame0"]
    assert torch.equal(frame[0], frame[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mix": {"cartoon": 1.0}}, "no scene is named 'cartoon'"),
        ({"mix": {}}, "no scene"),
        ({"mix": {"echo": -1.0}}, "no scene"),
        ({"length": 0}, "cannot be made"),
        ({"size": (8, 8)}, "cannot be made"),
        ({"times": ()}, "do not lie"),
        ({"times": (1.5,)}, "do not lie"),
        ({"times": None, "random_times": 0}, "needs a target"),
        ({"gap": (0.0, 1.0)}, "gaps"),
        ({"gap": (3.0, 1.0)}, "gaps"),
    ],
)
def test_configurations_that_give_no_samples_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        source(**changes)


def test_a_mix_with_stills_needs_stills():
    with pytest.raises(InputError, match="no still images"):
        SimulatedPairs(PairsConfig(mix={"still": 1.0}))


@pytest.mark.parametrize("drawn", [{}, {"params": {"scene": "echo"}, "times": [0.5], "ends": [0, 1]}, {"params": 3}])
def test_what_was_not_drawn_is_refused(drawn):
    with pytest.raises(InputError):
        source().make(drawn)


def test_a_source_travels_to_another_process():
    """Workers get it pickled, and make the same samples."""
    pairs = source()
    drawn = pairs.draw(0, generator=np.random.default_rng(4))
    travelled = pickle.loads(pickle.dumps(pairs))
    for key, value in pairs.make(drawn).items():
        assert torch.equal(travelled.make(drawn)[key], value)
