"""VGG as a critic: its layers, sizes and input, in closed form; published numbers are in the tests of the losses."""

from __future__ import annotations

import json

import pytest
import torch

from scanweave.errors import UsageError
from scanweave.models.vgg import VGG16_DEPTHS, Vgg, VggConfig

PUBLISHED = ("conv1_2", "conv2_2", "conv3_2", "conv4_2", "conv5_2")


def kernels(config: VggConfig, *, width: int = 2) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """Kernels that hand each channel's centre pixel on."""
    centre = torch.zeros(width, width, 3, 3)
    centre[range(width), range(width), 1, 1] = 1.0
    first = torch.zeros(width, 3, 3, 3)
    first[range(width), range(width), 1, 1] = 1.0
    names = list(config.layers)
    return {name: (first if name == names[0] else centre, torch.zeros(width)) for name in names}


def test_layers_have_the_published_indices(goldens):
    keys = json.loads((goldens / "most_dsa" / "keys.json").read_text())
    assert VggConfig(features=("conv5_2",)).layers == keys["vgg19_mat_layer_index"]
    wanted = json.loads((goldens / "slowmo_echo" / "keys.json").read_text())["vgg16_to_conv4_3"]
    indices = VggConfig(features=("conv4_3",), depths=VGG16_DEPTHS).layers.values()
    assert {f"features.{index}.{part}" for index in indices for part in ("weight", "bias")} == set(wanted)


@pytest.mark.parametrize(("padded", "smallest"), [(False, 188), (True, 16)])
def test_the_smallest_image_has_all_features_and_one_smaller_is_refused(padded, smallest):
    config = VggConfig(features=PUBLISHED, padded=padded, pooling="average")
    critic = Vgg(config, kernels(config))
    assert config.smallest_side == smallest
    assert min(critic(torch.rand(1, 3, smallest, smallest))["conv5_2"].shape[2:]) == 1
    with pytest.raises(ValueError, match=f"at least {smallest}"):
        critic(torch.rand(1, 3, smallest - 1, smallest))


def test_images_enter_as_configured():
    config = VggConfig(features=("conv1_1",), peak=255.0, mean=(10.0, 20.0, 30.0), deviation=(1.0, 2.0, 4.0))
    found = Vgg(config, kernels(config, width=3))(torch.full((1, 3, 4, 4), 0.5))["conv1_1"]
    assert found[0, :, 0, 0].tolist() == pytest.approx([117.5, 53.75, 24.375])


def test_features_before_the_relu_keep_their_sign_and_later_layers_do_not():
    config = VggConfig(features=("conv1_1", "conv1_2"), rectified=False, mean=(1.0, 0.0, 0.0))
    found = Vgg(config, kernels(config))(torch.full((1, 3, 4, 4), 0.25))
    assert found["conv1_1"][0, :, 0, 0].tolist() == [-0.75, 0.25]
    assert found["conv1_2"][0, :, 0, 0].tolist() == [0.0, 0.25]


@pytest.mark.parametrize(("pooling", "value"), [("max", 4.0), ("average", 2.5)])
def test_pooling_is_as_configured(pooling, value):
    config = VggConfig(features=("conv2_1",), pooling=pooling)
    image = torch.tensor([[1.0, 2.0], [3.0, 4.0]]).expand(1, 3, 2, 2)
    assert Vgg(config, kernels(config))(image)["conv2_1"].flatten().tolist() == [value, value]


def test_nothing_in_it_trains():
    config = VggConfig(features=("conv1_1",))
    critic = Vgg(config, kernels(config))
    assert not list(critic.parameters())
    assert not critic.training


@pytest.mark.parametrize("features", [(), ("conv6_1",), ("conv3_4",)])
def test_layers_that_it_lacks_are_refused(features):
    with pytest.raises(UsageError, match="VGG has no layer"):
        VggConfig(features=features, depths=VGG16_DEPTHS)
