"""Files of VGG weights: every container gives the same critic, and nothing else passes for one."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import safetensors.torch
import scipy.io
import torch

from scanweave.errors import WeightsError
from scanweave.models.vgg import VGG16_DEPTHS, VggConfig
from scanweave.weights.vgg import read_vgg

CONFIG = VggConfig(features=("conv2_1", "conv5_2"))


@pytest.fixture(scope="module")
def matlab(goldens):
    return goldens / "most_dsa" / "vgg_layout_tiny.mat"


@pytest.fixture(scope="module")
def tensors(matlab):
    return dict(read_vgg(matlab).tensors)


@pytest.fixture
def torchvision(tensors):
    indices = VggConfig(features=("conv5_4",)).layers
    state = {f"features.{indices[k[:7]]}.{k[8:]}": tensor for k, tensor in tensors.items()}
    return state | {"classifier.0.weight": torch.zeros(2, 2)}


def features(path):
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    return read_vgg(path).network(CONFIG)(image)


def test_every_container_and_naming_gives_the_same_critic(matlab, tensors, torchvision, tmp_path):
    torch.save(torchvision, tmp_path / "vgg19.pth")
    torch.save(torchvision, tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    safetensors.torch.save_file(torchvision, tmp_path / "vgg19.safetensors")
    safetensors.torch.save_file(tensors, tmp_path / "layers.safetensors")
    wanted = features(matlab)
    for name in ("vgg19.pth", "old.pth", "vgg19.safetensors", "layers.safetensors"):
        for layer, found in features(tmp_path / name).items():
            assert torch.equal(found, wanted[layer]), (name, layer)
    namings = [read_vgg(path).naming for path in (matlab, tmp_path / "vgg19.pth", tmp_path / "layers.safetensors")]
    assert namings == ["layers", "torchvision", "layers"]


def test_the_file_is_named_by_its_hash(matlab):
    assert len(read_vgg(matlab).sha256) == 64


def test_a_vgg_of_other_depth_is_refused_by_the_layer_that_it_lacks(torchvision, tmp_path):
    torch.save(torchvision, tmp_path / "vgg19.pth")
    with pytest.raises(WeightsError, match=r"lacks the layer features\.17 \(conv4_1\)"):
        read_vgg(tmp_path / "vgg19.pth").network(VggConfig(features=("conv4_3",), depths=VGG16_DEPTHS))


@pytest.mark.parametrize(
    ("layer", "tensor", "message"),
    [
        ("conv1_2.weight", torch.zeros(8, 5, 3, 3), r"has conv1_2 of \(8, 5, 3, 3\)"),
        ("conv2_1.bias", torch.zeros(3), "has conv2_1"),
        ("conv3_1.weight", torch.full((10, 8, 3, 3), torch.nan), "values in conv3_1 that are not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_named(tensors, tmp_path, layer, tensor, message):
    safetensors.torch.save_file(tensors | {layer: tensor}, tmp_path / "spoilt.safetensors")
    with pytest.raises(WeightsError, match=message):
        read_vgg(tmp_path / "spoilt.safetensors").network(CONFIG)


@pytest.mark.parametrize("kept", [0.01, 0.3, 0.7, 0.98])
def test_a_matlab_file_that_is_cut_short_is_refused(matlab, tmp_path, kept):
    data = matlab.read_bytes()
    (tmp_path / "cut.mat").write_bytes(data[: int(kept * len(data))])
    with pytest.raises(WeightsError, match=r"cut\.mat"):
        read_vgg(tmp_path / "cut.mat").network(CONFIG)


def test_matlab_files_of_something_else_are_refused(tmp_path):
    scipy.io.savemat(tmp_path / "other.mat", {"images": np.zeros(3)})
    for name, count in (("short", 5), ("beta", 43)):
        cells = np.empty((1, count), dtype=object)
        cells[:] = [[{"type": "conv"} for _ in range(count)]]
        scipy.io.savemat(tmp_path / f"{name}.mat", {"layers": cells})
    for name, message in (("other", "no variable"), ("short", "of 5 cells"), ("beta", "no weights of conv1_1")):
        with pytest.raises(WeightsError, match=message):
            read_vgg(tmp_path / f"{name}.mat")


def test_other_networks_missing_and_hostile_files_are_refused(tmp_path):
    torch.save({"down1.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"holds no VGG, but down1\.weight"):
        read_vgg(tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        read_vgg(tmp_path / "none.mat")

    class Evil:
        def __reduce__(self):
            return print, ("ran",)

    (tmp_path / "evil.pth").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError, match="refused, and not run"):
        read_vgg(tmp_path / "evil.pth")
