"""The terms of Uni-COAL's losses and their gradients, as published."""

from __future__ import annotations

import math
import re
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from scanweave.errors import UsageError
from scanweave.models import SamEncoder, SamEncoderConfig, UniCoal, UniCoalConfig, UniCoalCritic, UniCoalCriticConfig
from scanweave.synthesis.losses import (
    Asked,
    absolute_error,
    blur_at,
    feature_error,
    mend_gradients,
    mosaic,
    persuasion,
    sam_input,
    verdict,
)

S64 = UniCoalConfig(resolution=64, channel_base=1024, channel_max=24, layers=8, skip_resolution=32)
D64 = UniCoalCriticConfig(resolution=64, channel_base=1024, channel_max=32)
SAM = SamEncoderConfig(side=128, width=32, depth=3, heads=2, window=3, everywhere=(2,), features=16)
BLURS = {"blur0": 0.0, "blur1p5": 1.5}


@pytest.fixture(scope="module")
def golden(vectors) -> dict[str, np.ndarray]:
    return vectors("uni_coal/losses_s64")


@pytest.fixture(scope="module")
def networks(fill) -> tuple[UniCoal, UniCoalCritic, SamEncoder]:
    generator, critic = (at_golden_scale(network, fill) for network in (UniCoal(S64), UniCoalCritic(D64)))
    sam = SamEncoder(SAM)
    filled = fill({f"image_encoder.{key}": value for key, value in sam.state_dict().items()})
    sam.load_state_dict({key.removeprefix("image_encoder."): value for key, value in filled.items()})
    return generator, critic, sam.eval().requires_grad_(False)


def at_golden_scale(network: nn.Module, fill: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> nn.Module:
    """Fill a network as the goldens' README says."""

    def scaled(key: str, value: Tensor, like: Tensor) -> Tensor:
        leaf = key.rsplit(".", 1)[-1]
        if leaf in {"up_filter", "down_filter", "resample_filter", "transform", "fourier_coefs"}:
            return like
        if leaf == "magnitude_ema":
            return 1 + value
        if leaf == "weight" and value.ndim >= 2:
            value = value * math.sqrt(math.prod(value.shape[1:]))
        if re.search(r"mapping\.fc\d+\.(weight|bias)$", key):
            value = value * 100
        return value + 1 if key.endswith("affine.bias") else value

    state = network.state_dict()
    network.load_state_dict({key: scaled(key, value, state[key]) for key, value in fill(state).items()})
    return network.eval()


@pytest.fixture(scope="module")
def batch(golden) -> tuple[Tensor, Tensor, Tensor, Asked]:
    source, wanted = (torch.from_numpy(golden[f"{name}_int8"]).float() / 127 for name in "AB")
    asked = Asked(torch.from_numpy(golden["c"]).float(), torch.from_numpy(golden["index"]).float())
    return source, wanted, torch.from_numpy(golden["z"]).float(), asked


def norms(network: nn.Module) -> dict[str, float]:
    return {name: float(p.grad.norm()) for name, p in network.named_parameters() if p.grad is not None}


def assert_norms(network: nn.Module, names: np.ndarray, expected: np.ndarray) -> None:
    found = norms(network)
    largest = float(expected.max())
    assert set(found) >= {str(name) for name in names}
    for name, value in zip(names, expected, strict=True):
        assert found[str(name)] == pytest.approx(float(value), rel=1e-3, abs=1e-6 * largest), name


@pytest.mark.parametrize("case", BLURS)
def test_the_terms_and_their_gradients_are_the_published_ones(case, golden, networks, batch):
    generator, critic, sam = networks
    source, wanted, z, asked = batch
    sigma = BLURS[case]

    def of(name: str) -> float:
        return float(golden[f"{case}/{name}"])

    for network in (generator, critic):
        network.zero_grad(set_to_none=True)
    made = generator(source, z=z, contrast=asked.contrast, position=asked.position)
    np.testing.assert_allclose(made.detach().numpy(), golden[f"{case}/fake_B"], atol=2e-5)

    terms = verdict(critic, source, made, wanted, asked, sigma=sigma)
    assert terms.fake.item() == pytest.approx(of("loss_D_fake"), rel=1e-4)
    assert terms.real.item() == pytest.approx(of("loss_D_real_pure"), rel=1e-4)
    assert terms.penalty.item() == pytest.approx(of("loss_Dr1"), rel=1e-4)
    (terms.fake + terms.real + 10 * terms.penalty).backward()
    assert_norms(critic, golden[f"{case}/D_grad_names"], golden[f"{case}/D_grad_norms"])

    adversarial = persuasion(critic, source, made, asked, sigma=sigma)
    error = absolute_error(made, wanted, sigma=sigma)
    features = feature_error(sam, made, wanted, sigma=sigma)
    assert adversarial.item() == pytest.approx(of("loss_G_GAN"), rel=1e-4)
    assert (100 * features).item() == pytest.approx(of("loss_SAM"), rel=1e-4)
    assert (80 * error + 100 * features).item() == pytest.approx(of("loss_G_L1"), rel=1e-4)
    total = adversarial + 80 * error + 100 * features
    assert total.item() == pytest.approx(of("loss_G"), rel=1e-4)
    total.backward()
    assert_norms(generator, golden[f"{case}/G_grad_names"], golden[f"{case}/G_grad_norms"])


def test_without_the_penalty_the_other_terms_are_the_same(networks, batch):
    _, critic, _ = networks
    source, wanted, _, asked = batch
    with_it = verdict(critic, source, -wanted, wanted, asked, sigma=1.0)
    without = verdict(critic, source, -wanted, wanted, asked, sigma=1.0, penalised=False)
    assert without.penalty is None
    assert without.real.item() == pytest.approx(with_it.real.item(), rel=1e-5)
    assert without.fake.item() == pytest.approx(with_it.fake.item(), rel=1e-5)


def test_mosaics_and_what_sam_sees_are_the_published_ones(golden, networks, batch, agree):
    _, _, sam = networks
    for name in ("mosaic", "mosaic8"):
        agree(mosaic(torch.from_numpy(golden[f"{name}_in"])), golden[f"{name}_out"], 0)
    picture = sam_input(batch[1], side=128).clone()
    picture[..., int(golden["sam_in_rows"]) :, :] = 0  # the golden's mosaic is lower than the encoder's side
    found = [float(value) for value in (picture.mean(), picture.std(), picture.min(), picture.max())]
    np.testing.assert_allclose(found, golden["sam_pre_stat"], rtol=1e-4)
    with torch.no_grad():
        agree(sam(picture), golden["sam_feat"], 2e-5)


def test_batches_that_make_no_mosaic_are_refused():
    with pytest.raises(UsageError, match="5 slices make no mosaic"):
        mosaic(torch.zeros(5, 1, 4, 4))
    with pytest.raises(UsageError, match="takes 8"):
        sam_input(torch.zeros(4, 1, 8, 8), side=8)


def test_blur_fades_in_a_straight_line_and_ends():
    assert [blur_at(images, initial=10, fade=200_000) for images in (0, 100_000, 200_000, 10**6)] == [10, 5, 0, 0]
    assert blur_at(0, initial=10, fade=0) == 0


def test_gradients_are_mended_as_published():
    parameter = nn.Parameter(torch.zeros(4))
    parameter.grad = torch.tensor([math.nan, math.inf, -math.inf, 2.0])
    mend_gradients([parameter, nn.Parameter(torch.zeros(1))])
    assert parameter.grad.tolist() == [0, 1e5, -1e5, 2]
