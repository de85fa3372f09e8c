"""The numbers and promises of Segment Anything's image encoder."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F

from scanweave.errors import UsageError
from scanweave.models import SamEncoder, SamEncoderConfig, create
from scanweave.models.sam import join_windows, split_windows

SMALL = {"side": 128, "width": 32, "depth": 3, "heads": 2, "window": 3, "everywhere": (2,), "features": 16}
CONFIGS = {"vit_b_image_encoder": {}, "golden_small": SMALL}


@pytest.fixture(scope="module")
def encoder(fill) -> SamEncoder:
    made = SamEncoder(SamEncoderConfig(**SMALL))
    state = fill({f"image_encoder.{key}": tensor for key, tensor in made.state_dict().items()})
    made.load_state_dict({key.removeprefix("image_encoder."): tensor for key, tensor in state.items()})
    return made


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "uni_coal" / "keys.json").read_text())[f"SAM/{name}"]
    with torch.device("meta"):
        state = create("sam-vit-b-encoder", **CONFIGS[name]).state_dict()
    assert {f"image_encoder.{key}": list(tensor.shape) for key, tensor in state.items()} == keys


def test_golden_features(encoder, vectors, agree):
    arrays = vectors("uni_coal/losses_s64")
    slices = torch.from_numpy(arrays["B_int8"]).float() / 127
    mosaic = slices.view(2, 2, 64, 64).transpose(1, 2).reshape(1, 1, 128, 128)[:, :, : int(arrays["sam_in_rows"])]
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    image = F.pad(((mosaic + 1) / 2 * 255 - mean) / deviation, (0, 0, 0, 128 - mosaic.shape[2]))
    agree(encoder(image), arrays["sam_feat"], 2e-5)


def test_windows_are_undone():
    x = torch.rand(2, 7, 5, 3, generator=torch.Generator().manual_seed(0))
    windows, grid = split_windows(x, 3)
    assert windows.shape == (2 * 3 * 2, 3, 3, 3)
    assert torch.equal(windows[0], x[0, :3, :3])
    assert torch.equal(join_windows(windows, grid, x.shape[1:3]), x)


def test_gradients_reach_the_image(encoder):
    image = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(0)).requires_grad_()
    with torch.enable_grad():
        encoder(image).square().mean().backward()
    assert image.grad.abs().sum(dim=1).count_nonzero() == 128 * 128


@pytest.mark.parametrize("image", [torch.zeros(1, 1, 128, 128), torch.zeros(1, 3, 64, 128), torch.zeros(3, 128, 128)])
def test_illegal_images_are_refused(image, encoder):
    with pytest.raises(ValueError, match="are needed"):
        encoder(image)


@pytest.mark.parametrize("config", [{"side": 100}, {"heads": 5}, {"everywhere": (12,)}, {"depth": 0}])
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("sam-vit-b-encoder", **config)
