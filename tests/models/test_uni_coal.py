"""The numbers and promises of Uni-COAL's generator."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from scanweave.errors import UsageError
from scanweave.models import SamEncoder, SamEncoderConfig, UniCoal, UniCoalConfig, UniCoalCritic, create
from scanweave.models.uni_coal_layers import Mapping, PositionWaves
from scanweave.models.uni_coal_levels import Level
from scanweave.models.uni_coal_modulated import EncoderLayer, SynthesisLayer, Waves, modulate
from scanweave.ops.fir import blur

S64 = {"resolution": 64, "channel_base": 1024, "channel_max": 24, "layers": 8, "skip_resolution": 32}
PLAIN = {"contrasts": 0, "position": False, "channels_in": 1, "mapping_layers": 3, "encoder_modulated": False}
VARIANT = {
    "skip_resolution": 8,
    "coordinate": True,
    "radial": True,
    "scale": 1.0,
    "channels_out": 3,
    "latent": 16,
    "contrasts": 2,
    "position_waves": "fourier",
    "encoder_contrasts": 2,
    "encoder_embedded": 16,
    "encoder_layers": 3,
}
CONFIGS = {
    "ixi_6_final": {},
    "adni_cmsr_sam": {"contrasts": 1, "position": False, "encoder_contrasts": 1},
    "brats19_final": {"contrasts": 1, "position": False, "encoder_contrasts": 1},
    "ixi_allrand_unmodulated": {"latent": 512, "mapping_layers": 8, "encoder_modulated": False},
    "golden_s64": S64,
    "golden_s64_unmod": {**S64, **PLAIN, "latent": 32},
    "golden_s64_variant": {**S64, **VARIANT},
    "golden_s64_nocondmod": {**S64, "conditional": False},
}
TOLERANCE = 2e-5


def asked(arrays) -> dict[str, torch.Tensor | None]:
    """What a golden asks for, as the network is told it."""
    names = {"z": "z", "c": "contrast", "index": "position"}
    return {name: torch.from_numpy(arrays[key]) if key in arrays else None for key, name in names.items()}


def slices(arrays) -> torch.Tensor:
    return torch.from_numpy(arrays["x_int8"]).float() / 127


def stages_of(network: UniCoal) -> dict[str, torch.Tensor]:
    """Have a network keep what its parts make, by their names in the goldens."""
    kept: dict[str, torch.Tensor] = {}
    for name, part in network.named_modules():
        stem = "enc_mapping" if name == "synthesis.encoder.mapping" else name.rsplit(".", 1)[-1]
        stem = {"mapping": "ws"}.get(stem, stem)
        part.register_forward_hook(lambda part, given, made, stem=stem: kept.__setitem__(stem, made))
    return kept


def linked(network: UniCoal) -> set[str]:
    """Layers whose output is kept before the encoder's map is added, unlike in the goldens."""
    from scanweave.models.uni_coal import linked_levels

    return {network.synthesis.names[index] for index in linked_levels(network.config, network.synthesis.levels)}


@pytest.fixture(scope="module")
def s64(equalised) -> UniCoal:
    return equalised(UniCoal(UniCoalConfig(**S64)))


CASES = {
    "gen_s64": ("golden_s64", lambda x: x[:, :4, ::3, ::3]),
    "gen_s64_unmod": ("golden_s64_unmod", lambda x: x[:, :2, ::4, ::4]),
    "gen_s64_nocondmod": ("golden_s64_nocondmod", None),
    "gen_s64_variant": ("golden_s64_variant", lambda x: x[:1, :2, ::4, ::4]),
}


@pytest.mark.parametrize(("case", "tracked"), [*((case, False) for case in CASES), ("gen_s64_variant", True)])
def test_golden_slices_and_stages(case, tracked, vectors, agree, equalised):
    name, thinned = CASES[case]
    arrays = vectors(f"uni_coal/{case}")
    network = equalised(UniCoal(UniCoalConfig(**CONFIGS[name])))
    stages = stages_of(network)
    with torch.set_grad_enabled(tracked):
        made = network(slices(arrays), **asked(arrays)).detach()
    agree(made, arrays["out"], TOLERANCE)
    for key in (key for key in arrays if key.startswith("stage_")):
        stage = stages[key.removeprefix("stage_")].detach()
        if key.removeprefix("stage_") not in linked(network):
            stage = thinned(stage) if stage.ndim == 4 else stage[: len(arrays[key])]
            agree(stage, arrays[key], TOLERANCE, relative=1e-5)


def test_golden_truncation_and_contrasts(s64, vectors, agree):
    arrays = vectors("uni_coal/gen_s64")
    told = asked(arrays)
    one = {name: value[:1] for name, value in told.items()}
    agree(s64(slices(arrays)[:1], **one, truncation=0.7), arrays["out_psi0.7"][:1], TOLERANCE)
    styles = s64.styles(**told, truncation=0.5, truncated=4)
    agree(styles[:, [0, 3, 4, 9]], arrays["ws_psi0.5_cut4"], TOLERANCE)
    rolled = {**one, "contrast": told["contrast"][[1]]}
    agree(s64(slices(arrays)[:1], **rolled), arrays["out_c_rolled"][:1], TOLERANCE)


def test_golden_full_size(vectors, agree, equalised):
    """The published size: 59 million weights, one slice of 256 x 256."""
    arrays = vectors("uni_coal/gen_full_ixi")
    network = equalised(UniCoal())
    stages = stages_of(network)
    source, told = slices(arrays), asked(arrays)
    made = network(source, **told)
    agree(made[0, 0, ::3, ::3], arrays["out_s3"], 5e-5)
    joined = linked(network)
    for key in (key for key in arrays if key.startswith("stage_")):
        stage = stages[key.removeprefix("stage_")][0]
        if key.removeprefix("stage_") not in joined:
            agree(stage[:8, ::29, ::31] if stage.ndim == 3 else stage, arrays[key], 5e-5, relative=2e-5)
    critic = equalised(UniCoalCritic())
    del told["z"]
    agree(critic(torch.cat((source, made), dim=1), **told), arrays["D_logit"], 5e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_keys_are_those_published(name, goldens):
    keys = json.loads((goldens / "uni_coal" / "keys.json").read_text())[f"G/{name}"]
    with torch.device("meta"):
        state = create("uni-coal", **CONFIGS[name]).state_dict()
    assert {key: list(tensor.shape) for key, tensor in state.items()} == keys
    assert list(state) == list(keys)


def test_sizes_of_the_published_network():
    with torch.device("meta"):
        network = UniCoal()
    assert sum(parameter.numel() for parameter in network.parameters()) == 59_253_681
    levels = [(level.rate, level.size, level.channels) for level in network.synthesis.levels]
    assert levels[:3] == [(16, 36, 512)] * 3
    assert levels[7:] == [
        (128, 148, 362),
        (128, 148, 256),
        (128, 148, 181),
        (256, 276, 128),
        (256, 276, 91),
        (256, 276, 64),
        (256, 256, 64),
        (256, 256, 1),
    ]
    pads = {
        index: network.synthesis.get_submodule(name).passage.pad for index, name in enumerate(network.synthesis.names)
    }
    assert pads[1] == (9, 8, 9, 8)
    assert pads[10] == (-6, -9, -6, -9)
    assert pads[13] == (-11, -12, -11, -12)
    assert pads[14] == (0, 0, 0, 0)


@pytest.mark.parametrize(("group", "case"), [("losses_s64", "blur0")])
def test_golden_gradients_of_both_networks(group, case, vectors, agree, equalised, fill):
    """Of the whole training step: logistic losses, R1, L1 and features of the mosaic; published names and norms.

    With blur they are tested through the recipe's own losses.
    """
    arrays = vectors(f"uni_coal/{group}")
    network = equalised(UniCoal(UniCoalConfig(**S64)))
    critic = equalised(create("uni-coal-critic", resolution=64, channel_base=1024, channel_max=32))
    sigma = {"blur0": 0.0, "blur1p5": 1.5}[case]
    source, target = (torch.from_numpy(arrays[key]).float() / 127 for key in ("A_int8", "B_int8"))
    told = asked(arrays)
    latent, places = told.pop("z"), told

    def judged(image: torch.Tensor) -> torch.Tensor:
        return critic(blur(torch.cat((source, image), dim=1), sigma=sigma), **places)

    with torch.enable_grad():
        made = network(source, latent, **places)
        agree(made.detach(), arrays[f"{case}/fake_B"], TOLERANCE)
        judged_made = judged(made.detach())
        pair = torch.cat((source, target), dim=1).requires_grad_()
        judged_real = critic(blur(pair, sigma=sigma), **places)
        (slope,) = torch.autograd.grad(judged_real.sum(), pair, create_graph=True)
        penalty = 0.5 * slope.square().sum(dim=(1, 2, 3)).mean()
        (F.softplus(judged_made).mean() + F.softplus(-judged_real).mean() + 10 * penalty).backward()
    agree(judged_made.detach(), arrays[f"{case}/D_fake_logits"], 1e-4)
    agree(judged_real.detach(), arrays[f"{case}/D_real_logits"], 1e-4)
    assert float(penalty.detach()) == pytest.approx(float(arrays[f"{case}/loss_Dr1"]), rel=1e-4)
    norms_agree(critic, arrays, f"{case}/D_grad")

    critic.requires_grad_(False)
    encoder = small_sam(fill)
    with torch.enable_grad():
        fading, wanted = blur(made, sigma=sigma), blur(target, sigma=sigma)
        alike = (encoder(mosaic(fading)) - encoder(mosaic(wanted))).abs().mean()
        loss = F.softplus(-judged(made)).mean() + 80 * (fading - wanted).abs().mean() + 100 * alike
        loss.backward()
    assert float(loss.detach()) == pytest.approx(float(arrays[f"{case}/loss_G"]), rel=1e-4)
    norms_agree(network, arrays, f"{case}/G_grad")


def norms_agree(network, arrays, stem) -> None:
    found = {name: parameter.grad for name, parameter in network.named_parameters()}
    norms = dict(zip(arrays[f"{stem}_names"].tolist(), arrays[f"{stem}_norms"].tolist(), strict=True))
    for name, norm in norms.items():
        assert float(found[name].norm()) == pytest.approx(norm, rel=1e-3, abs=1e-7), name
    assert all(float(gradient.abs().max()) == 0 for name, gradient in found.items() if name not in norms)


def small_sam(fill) -> SamEncoder:
    config = SamEncoderConfig(side=128, width=32, depth=3, heads=2, window=3, everywhere=(2,), features=16)
    encoder = SamEncoder(config)
    state = fill({f"image_encoder.{key}": tensor for key, tensor in encoder.state_dict().items()})
    encoder.load_state_dict({key.removeprefix("image_encoder."): tensor for key, tensor in state.items()})
    return encoder.requires_grad_(False)


def mosaic(images: torch.Tensor) -> torch.Tensor:
    """Four slices as one picture, as the encoder takes it."""
    picture = images.view(2, 2, 1, 64, 64).permute(2, 0, 3, 1, 4).reshape(1, 1, 128, 128)
    mean = torch.tensor([123.675, 116.28, 103.53]).view(1, 3, 1, 1)
    deviation = torch.tensor([58.395, 57.12, 57.375]).view(1, 3, 1, 1)
    return ((picture + 1) / 2 * 255 - mean) / deviation


# --- its parts by themselves


@pytest.fixture(scope="module")
def parts(vectors) -> dict[str, torch.Tensor]:
    return {key: torch.from_numpy(array) for key, array in vectors("uni_coal/ops_layers").items()}


def test_golden_modulation(parts, agree):
    x, weight, styles = parts["mc_x"], parts["mc_w"], parts["mc_s"]
    features, kernels, scale = modulate(x, weight, styles, gain=0.8)
    agree(F.conv2d(features, kernels, padding=2) * scale[:, :, None, None], parts["mc_demod"].numpy(), 1e-5)
    features, kernels, scale = modulate(x, weight[:, :, :1, :1], styles, demodulated=False)
    agree(F.conv2d(features, kernels) * scale[:, :, None, None], parts["mc_nodemod"].numpy(), 1e-5)


def test_one_sample_is_modulated_as_several(parts):
    x, weight, styles = parts["mc_x"][:1], parts["mc_w"], parts["mc_s"][:1]
    features, kernels, scale = modulate(x, weight, styles)
    assert scale is None
    twice, shared, factors = modulate(x.expand(2, -1, -1, -1), weight, styles.expand(2, -1))
    together = F.conv2d(twice, shared) * factors[:, :, None, None]
    torch.testing.assert_close(F.conv2d(features, kernels), together[:1], atol=1e-5, rtol=0)


def test_golden_mapping_and_positions(parts, agree, equalised):
    agree(PositionWaves()(parts["fourier_t"]), parts["fourier"].numpy(), 2e-6)
    agree(PositionWaves().fourier_coefs, parts["fourier_coefs"].numpy(), 1e-6)
    contrast, place = torch.eye(3), parts["map_idx"]
    told = {"contrasts": 3, "position": True, "embedded": 64, "layers": 2}
    mapping = equalised(Mapping(latent=64, width=512, **told), "mapping.")
    agree(mapping(parts["map_z"], contrast, place), parts["map_ws"].numpy(), TOLERANCE)
    judging = equalised(Mapping(latent=0, width=32, averaged=False, **told), "mapping.")
    agree(judging(None, contrast, place), parts["dmap"].numpy(), TOLERANCE)


# cutoffs and half widths as the goldens were made with, to three places
FINE = Level(16, 2.828, 5.172, 36, 4)
EVEN = Level(16, 8, 1.85, 36, 5)
LEVELS = {
    "lay_keep": (Level(16, 2, 6, 36, 5), FINE),
    "lay_up": (Level(16, 4, 4, 36, 5), Level(32, 5.657, 10.343, 52, 4)),
    "lay_crop": (EVEN, replace(EVEN, size=16, channels=4)),
    "lay_rgb": (EVEN, replace(EVEN, channels=1)),
    "enc_same": (Level(16, 4, 4, 36, 5), FINE),
    "enc_down": (Level(32, 5.657, 10.343, 52, 5), Level(16, 4, 4, 36, 4)),
}


@pytest.mark.parametrize("case", ["lay_keep", "lay_up", "lay_crop", "lay_rgb"])
def test_golden_layers_on_the_way_up(case, parts, agree, equalised):
    config = UniCoalConfig(width=16)
    layer = SynthesisLayer(config, *LEVELS[case], config.layers if case == "lay_rgb" else 0)
    assert list(layer.passage.pad) == parts[f"{case}_padding"].tolist()
    style = torch.cat((parts["lay_w"], parts["lay_gw"]), dim=1)
    agree(equalised(layer, f"{case}.")(parts["lay_x"], style), parts[case].numpy(), TOLERANCE)


@pytest.mark.parametrize("modulated", [True, False])
@pytest.mark.parametrize("case", ["enc_same", "enc_down"])
def test_golden_layers_on_the_way_down(case, modulated, parts, agree, equalised):
    layer = EncoderLayer(UniCoalConfig(encoder_modulated=modulated), *LEVELS[case])
    assert list(layer.passage.pad) == parts[f"{case}_padding"].tolist()
    x = parts["lay_x" if case == "enc_same" else "enc_x52"]
    golden = parts[f"{case}_{'mod' if modulated else 'plain'}"]
    agree(equalised(layer, f"{case}.")(x, parts["enc_w"]), golden.numpy(), TOLERANCE)


@pytest.mark.parametrize(
    ("case", "transform"),
    [
        ("sin_out", [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),
        ("sin_out_T", [[0.8, -0.6, 0.1], [0.6, 0.8, -0.2], [0.0, 0.0, 1.0]]),
        ("sin_out_damped", [[9.0, 0.0, 0.0], [0.0, 9.0, 0.0], [0.0, 0.0, 1.0]]),
    ],
)
def test_golden_waves(case, transform, parts, agree, equalised):
    waves = equalised(Waves(Level(16, 2.0, 6.0, 20, 6), 16), "input.")
    waves.transform.copy_(torch.tensor(transform))
    agree(waves(parts["sin_w"]), parts[case].numpy(), TOLERANCE)


# --- what it promises


@pytest.fixture(scope="module")
def given() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(2)
    return {
        "source": torch.rand(2, 4, 64, 64, generator=generator) * 2 - 1,
        "z": torch.randn(2, 64, generator=generator),
        "contrast": torch.eye(3)[1:],
        "position": torch.tensor([[0.0], [0.5]]),
    }


def test_a_batch_equals_one_by_one(s64, given):
    together = s64(**given)
    for row in range(2):
        alone = s64(**{key: value[row : row + 1] for key, value in given.items()})
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=0)


def test_slices_are_encoded_once_for_any_latent(s64, given):
    encoded = s64.encode(given["source"], given["contrast"], given["position"])
    styles = s64.styles(given["z"], given["contrast"], given["position"])
    assert torch.equal(s64.decode(encoded, styles), s64(**given))


def test_double_precision_agrees(s64, given):
    exact = copy.deepcopy(s64).double()(**{key: value.double() for key, value in given.items()})
    torch.testing.assert_close(exact.float(), s64(**given), atol=1e-5, rtol=0)


def test_input_is_left_alone_and_dropout_is_of_training(s64, given):
    before = {key: value.clone() for key, value in given.items()}
    assert torch.equal(s64(**given), s64(**given))
    assert all(torch.equal(value, before[key]) for key, value in given.items())
    learning = copy.deepcopy(s64).train()
    assert not torch.equal(learning(**given), learning(**given))


def test_the_predecessor_begins_with_the_encoder(given):
    network = create("uni-coal", **{**S64, **PLAIN}, fourier_input=False, border=0.0)
    assert not any(key.startswith("synthesis.input.") for key in network.state_dict())
    assert network(given["source"][:, :1], given["z"]).isfinite().all()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"source": torch.zeros(2, 4, 64, 60)}, "slices"),
        ({"source": torch.zeros(2, 3, 64, 64)}, "slices"),
        ({"source": torch.zeros(2, 4, 64, 64, dtype=torch.uint8)}, "floating"),
        ({"z": torch.zeros(2, 32)}, "z must be floating"),
        ({"contrast": None}, "needs contrast="),
        ({"contrast": torch.eye(3, dtype=torch.int64)[:2]}, "contrast must be floating"),
        ({"position": None}, "a position of shape"),
        ({"position": torch.zeros(2)}, "a position of shape"),
    ],
)
def test_illegal_input_is_refused(changed, reason, s64, given):
    with pytest.raises(ValueError, match=reason):
        s64(**{**given, **changed})


@pytest.mark.parametrize(
    "config",
    [
        {"resolution": 100},
        {"channels_in": 0},
        {"critical": 14},
        {"kernel": 2},
        {"first_cutoff": 5.0},
        {"encoder_contrasts": 0, "encoder_position": False},
    ],
)
def test_illegal_configs_are_refused(config):
    with pytest.raises(UsageError):
        create("uni-coal", **config)


def test_it_compiles_as_one_graph():
    """No break for a compiler, gradients included; the backend here is none, since not every machine has one."""
    network = UniCoal(UniCoalConfig(resolution=32, layers=6, channel_base=64, channel_max=8)).eval()
    source, others = torch.rand(1, 4, 32, 32), (torch.randn(1, 64), torch.eye(3)[:1], torch.rand(1, 1))
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    assert torch.allclose(compiled(source, *others), network(source, *others), atol=1e-6)
