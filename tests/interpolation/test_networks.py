"""The published networks as methods: their goldens, any size and depth, options, tiles, and what is said of them."""

from __future__ import annotations

import copy
import json
import math
import shutil

import numpy as np
import pytest
import torch

from scanweave import weights
from scanweave.cine import Cine
from scanweave.devices import device_of, running
from scanweave.errors import ResourceError, UsageError, WeightsError
from scanweave.interpolation.acceleration import Tiled
from scanweave.interpolation.api import interpolate, named_method
from scanweave.interpolation.augmentation import augmented
from scanweave.interpolation.config import NetworkOptions
from scanweave.interpolation.methods import Made, available, create, needs_weights, ready
from scanweave.interpolation.networks import MostDsaMethod, SuperSlomoMethod
from scanweave.ops.warp import pointed_at
from scanweave.trust.report import leave_one_out
from scanweave.trust.verdict import judge

IMAGE, SLOMO = 1e-5, 1e-4


@pytest.fixture(scope="module")
def dsa_file(small_dsa, tmp_path_factory):
    """The authors' container, trained for one frame in the middle by its name."""
    return weights.export_published("most-dsa", small_dsa, tmp_path_factory.mktemp("weights") / "Inf1.pkl")


@pytest.fixture(scope="module")
def slow(ready_method) -> SuperSlomoMethod:
    return ready_method("super-slomo")


@pytest.fixture(scope="module", params=["most-dsa", "super-slomo"])
def method(request, ready_method):
    return ready_method(request.param)


def run(rows: int, columns: int, *, colour: bool = False, length: int = 2) -> Cine:
    y, x = np.mgrid[:rows, :columns]
    frames = np.stack(
        [0.5 + 0.3 * np.sin((x - 3 * k) / 5 + y / 7) + 0.1 * np.cos(x * y / 90 + k) for k in range(length)]
    )
    if colour:
        frames = frames[..., None] * np.array([1.0, 0.8, 0.5])
    return Cine.from_array(np.rint(frames * 255).astype(np.uint8), fps=30)


def made(method, cine: Cine, times) -> Made:
    return method.fit(cine).prepare(0, 1).at(times)


def decibels(made: torch.Tensor, truth: torch.Tensor) -> float:
    return -10 * math.log10(float((made - truth).square().mean()) + 1e-20)


# --- the goldens, through the method


def cine_of(golden, *, blue_first: bool) -> Cine:
    frames = np.stack([golden["img0_u8"], golden["img1_u8"]])
    return Cine.from_array(np.ascontiguousarray(frames[..., ::-1]) if blue_first else frames)


def test_published_modes_of_most_dsa(most_dsa, vectors, agree):
    golden = vectors("most_dsa/inference_modes_45x70")
    cine, times = cine_of(golden, blue_first=True), golden["timesteps"].tolist()
    plain = MostDsaMethod(weights=most_dsa, device="cpu")
    reduced = MostDsaMethod(weights=most_dsa, device="cpu", flow_scale=0.5)
    agree(made(plain, cine, times).frames.flip(1), golden["plain"], IMAGE)
    agree(made(augmented(plain), cine, times).frames.flip(1), golden["tta"], IMAGE)
    agree(made(reduced, cine, [0.5]).frames.flip(1), golden["downscale_half_t050"], IMAGE)
    agree(made(augmented(reduced), cine, [0.5]).frames[0].flip(0), golden["downscale_half_tta_t050"], IMAGE)


@pytest.mark.parametrize("convention", ["half_pixel", "corner"])
def test_published_frames_of_super_slomo(convention, slomo, vectors, agree):
    golden = vectors("slowmo_echo/interp_64x96")
    cine = Cine.from_array(golden["frames_u8"])
    mean = golden["mean"].reshape(1, 3, 1, 1)
    method = SuperSlomoMethod(weights=slomo(convention), device="cpu")
    for t in golden["ts"].tolist():
        key = f"{convention}_t{t:.4f}_out"
        if key in golden:
            agree(made(method, cine, [t]).frames, (golden[key] + mean).clip(0, 1), SLOMO)


# --- sizes, depth, colour, time


@pytest.mark.parametrize("size", [(1, 1), (1, 70), (33, 31), (64, 64)])
def test_any_size_in_grey_and_colour(method, size):
    for colour in (False, True):
        result = made(method, run(*size, colour=colour), [0.3])
        assert result.frames.shape == (1, 3 if colour else 1, *size)
        assert result.uncertainty.shape == (1, 1, *size)
        assert {tuple(item.shape[2:]) for item in result.extras.values()} == {size}
        assert torch.isfinite(result.frames).all()
        assert result.frames.min() >= 0
        assert result.frames.max() <= 1


@pytest.mark.parametrize(
    ("dtype", "levels"), [("uint16", (0, 4095)), ("uint16", (0, 65535)), ("int16", (-1024, 3071)), ("float32", (-5, 7))]
)
def test_any_depth_is_that_of_eight_bits_and_finer(method, dtype, levels):
    coarse = run(32, 32)
    low, high = levels
    frames = np.stack([coarse.frame(0), coarse.frame(1)]) / 255 * (high - low) + low
    deep = Cine.from_array((frames if dtype == "float32" else np.rint(frames)).astype(dtype), levels=levels, fps=30)
    result = made(method, deep, [0.5]).frames
    torch.testing.assert_close(result, made(method, coarse, [0.5]).frames, atol=0.02, rtol=0)
    stored = deep.stored(result[0].numpy())
    assert stored.dtype == dtype
    assert low <= stored.min() <= stored.max() <= high
    assert np.unique(stored).size > 300  # more than 8 bits could tell apart


def test_grey_is_the_mean_of_what_three_equal_channels_give(method):
    grey = run(40, 40)
    coloured = Cine.from_array(np.repeat(np.stack([grey.frame(0), grey.frame(1)])[..., None], 3, axis=-1))
    one, three = made(method, grey, [0.5]).frames, made(method, coloured, [0.5]).frames
    # Where nothing was clamped; with random weights the three differ a lot, which the mean does not care about.
    inside = ((three > 0) & (three < 1)).all(dim=1, keepdim=True)
    torch.testing.assert_close(one[inside], three.mean(dim=1, keepdim=True)[inside], atol=1e-6, rtol=0)


def test_times_in_any_number_and_order(method, monkeypatch):
    cine, times = run(40, 40), [0.75, 0.0, 0.25, 1.0, 0.5]
    together = made(method, cine, times)
    monkeypatch.setattr("scanweave.interpolation.networks.times_at_once", lambda pixels, device: 2)
    chunked = made(method, cine, times)
    torch.testing.assert_close(chunked.frames, together.frames, atol=2e-6, rtol=0)
    torch.testing.assert_close(chunked.uncertainty, together.uncertainty, atol=2e-6, rtol=0)
    assert chunked.extras["mask"].shape[0] == 3
    assert np.array_equal(cine.stored(together.frames[1].numpy()), cine.frame(0))
    assert np.array_equal(cine.stored(together.frames[3].numpy()), cine.frame(1))


def test_equal_frames_have_nothing_between_them(method):
    cine = run(20, 20).select([0, 0], times=[0, 1])
    result = made(method, cine, [0.2, 0.5])
    assert np.array_equal(cine.stored(result.frames[1].numpy()), cine.frame(0))
    assert result.uncertainty.abs().max() == 0


def test_what_depends_on_the_pair_alone_is_computed_once(ready_method):
    """Encoders are asked once per pair, whatever is asked of it later."""
    for name, part in (("super-slomo", "flow"), ("most-dsa", "feature_bone")):
        method = ready_method(name)
        calls: list[int] = []
        encoder = method.network.get_submodule(part)
        hook = encoder.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        state = method.fit(run(32, 32)).prepare(0, 1)
        state.at([0.25, 0.5])
        state.at([0.75])
        hook.remove()
        assert len(calls) == 1


def test_uncertainty_follows_disagreement(method):
    cine = run(32, 64)
    left = np.stack([cine.frame(0), cine.frame(1)])
    left[1, :, :16] = 255 - left[1, :, :16]
    result = made(method, Cine.from_array(left), [0.5])
    assert result.uncertainty.min() >= 0
    assert result.uncertainty[..., :16].mean() > result.uncertainty[..., 48:].mean()


# --- options


@pytest.mark.parametrize(("scale", "shape"), [(0.5, (33, 65)), (0.25, (40, 40)), (2.0, (32, 32))])
def test_flow_scale(method, scale, shape):
    scaled = create(method.name, weights=method.weights, device="cpu", flow_scale=scale)
    cine = run(*shape)
    result = made(scaled, cine, [0.5]).frames
    assert result.shape[2:] == shape
    assert not torch.equal(result, made(method, cine, [0.5]).frames)


def test_flow_scale_keeps_a_constant_motion(slomo):
    """With weights of zero, flow is the last bias, at any size; a reduced flow counts in pixels of the full size."""
    still = copy.deepcopy(slomo("exact"))
    for parameter in still.parameters():
        parameter.data.zero_()
    still.flow.conv3.bias.data[:] = torch.tensor([2.0, 1.0, 2.0, 1.0])
    cine = run(32, 32)
    extras = [
        made(SuperSlomoMethod(weights=still, device="cpu", flow_scale=scale), cine, [0.5]).extras["flow_to_first"]
        for scale in (1.0, 0.5)
    ]
    # F_t0 = -t (1 - t) F01 + t^2 F10 vanishes for equal flows at 1/2; unequal times show the factor.
    assert extras[0].abs().max() == extras[1].abs().max() == 0
    flows = [
        made(SuperSlomoMethod(weights=still, device="cpu", flow_scale=scale), cine, [0.75]).extras["flow_to_first"]
        for scale in (1.0, 0.5)
    ]
    torch.testing.assert_close(flows[1], 2 * flows[0])


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_lower_precision_is_close_and_keeps_its_islands(method, precision):
    lowered = create(method.name, weights=method.weights, device="cpu", precision=precision)
    cine = run(32, 32)
    full, low = made(method, cine, [0.5]), made(lowered, cine, [0.5])
    assert 35 < decibels(low.frames, full.frames) < 120
    assert all(item.dtype == torch.float32 for item in (low.frames, low.uncertainty, *low.extras.values()))
    assert lowered.describe()["precision"] == precision
    assert any("float16" in note for note in lowered.cautions([0.5])) == (precision == "float16")


def test_tiles_give_the_numbers_of_the_whole(small_dsa):
    whole = MostDsaMethod(weights=small_dsa, device="cpu", tile=0)
    tiled = MostDsaMethod(weights=small_dsa, device="cpu", tile=64)
    cine = run(64, 250)
    expected, result = made(whole, cine, [0.5]), made(tiled, cine, [0.5])
    assert isinstance(tiled.network.unet, Tiled)
    torch.testing.assert_close(result.frames, expected.frames, atol=1e-5, rtol=0)


def test_tiles_find_features_wherever_the_motion_points(small_dsa):
    refiner = small_dsa.unet
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        appearance = small_dsa.encode(*torch.rand(2, 1, 3, 64, 208, generator=generator)).appearance
        stacked, flow = (torch.rand(1, count, 64, 208, generator=generator) for count in (17, 4))
        places = pointed_at(flow + torch.tensor([150.0, -20, -130, 40]).view(1, 4, 1, 1))  # far out of any tile
        tiled = Tiled(refiner, tile=64, margin=64, multiple=16)(stacked, appearance, places)
        torch.testing.assert_close(tiled, refiner(stacked, appearance, places), atol=1e-5, rtol=0)


def test_tiles_of_super_slomo(slow):
    tiled = SuperSlomoMethod(weights=slow.weights, device="cpu", tile=64)
    cine = run(32, 416)
    expected, result = made(slow, cine, [0.5]), made(tiled, cine, [0.5])
    torch.testing.assert_close(result.frames, expected.frames, atol=5e-5, rtol=0)


def test_only_large_frames_are_tiled_by_themselves():
    sizes = []

    class Part(torch.nn.Module):
        def forward(self, x):
            sizes.append(tuple(x.shape[2:]))
            return x[:, :1]

    part = Tiled(Part(), tile="auto", margin=64, multiple=32)
    part(torch.zeros(1, 1, 1024, 1024))
    part(torch.zeros(1, 1, 64, 2048))
    assert sizes == [(1024, 1024), (64, 2048)]
    sizes.clear()
    frame = torch.rand(1, 1, 1056, 1056)
    assert torch.equal(part(frame), frame)
    assert sizes
    assert max(height * width for height, width in sizes) < 640 * 640


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"weights": None}, WeightsError),
        ({"precision": "int8"}, UsageError),
        ({"tile": 7}, UsageError),
        ({"flow_scale": 0.3}, UsageError),
        ({"device": "abacus"}, UsageError),
        ({"device": "cuda:99"}, ResourceError),
        ({"no_such": 1}, UsageError),
    ],
)
def test_options_that_cannot_be(small_dsa, options, error):
    with pytest.raises(error):
        create("most-dsa", **({"weights": small_dsa} | options)).describe()


def test_kernels_lie_as_every_device_likes_them_best(method):
    """Channels last, the three-dimensional kernels left alone: on a GPU the same call is made."""
    kernels = [parameter for parameter in method.network.parameters() if parameter.ndim == 4 and parameter.shape[1] > 1]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_float32_is_float32_on_a_gpu_and_what_was_set_comes_back(monkeypatch):
    for before in (True, False):
        monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", before)
        with running():
            assert not torch.backends.cudnn.allow_tf32
        with pytest.raises(KeyError), running():
            raise KeyError
        assert torch.backends.cudnn.allow_tf32 == before


def test_devices():
    assert device_of("cpu").type == "cpu"
    assert device_of("auto").type in ("cpu", "cuda", "mps")
    if not torch.cuda.is_available():
        with pytest.raises(ResourceError, match="there is cpu"):
            device_of("cuda")


def test_a_network_is_not_altered_and_must_be_the_right_one(small_dsa, slomo):
    before = set(dict(small_dsa.named_modules()))
    made(MostDsaMethod(weights=small_dsa, device="cpu", precision="bfloat16", tile=64), run(32, 32), [0.5])
    assert set(dict(small_dsa.named_modules())) == before
    with pytest.raises(WeightsError, match="is most-dsa, not super-slomo"):
        SuperSlomoMethod(weights=small_dsa).describe()
    with pytest.raises(UsageError, match="has its own warp_convention"):
        SuperSlomoMethod(weights=slomo("corner"), warp_convention="exact").describe()


# --- weights, registry, what is said


def test_registry():
    assert {"most-dsa", "super-slomo"} <= set(available())
    assert needs_weights("most-dsa")
    assert not needs_weights("linear")
    assert set(ready()) == {name for name in available() if not needs_weights(name)}


def test_description_and_cautions_of_a_file(dsa_file):
    method = create("most-dsa", weights=dsa_file, device="cpu")
    described = method.describe()
    assert json.loads(json.dumps(described)) == described
    assert described["weights"] == "Inf1.pkl"
    assert len(described["weights_sha256"]) == 64
    assert described["trained_times"] == [0.5]
    assert described["config"]["width"] == 16
    assert method.cautions([0.5]) == []
    (caution,) = method.cautions([0.25, 0.5])
    assert caution == (
        "Inf1.pkl was trained for the times 0.5 between two frames: what is made at 0.25 is extrapolated."
    )
    renamed = dsa_file.with_name("best.pkl")
    shutil.copy(dsa_file, renamed)
    (caution,) = create("most-dsa", weights=renamed, device="cpu").cautions([0.5])
    assert caution.startswith("Nothing tells which times best.pkl was trained for")
    assert create("most-dsa", weights=dsa_file, device="cpu").network is method.network
    assert augmented(method).network is method.network


def test_convention_is_decided_by_origin_or_given(slomo, tmp_path):
    with pytest.warns(weights.WeightsWarning):
        path = weights.export_published("super-slomo", slomo("corner"), tmp_path / "SuperSloMo.ckpt")
    decided = create("super-slomo", weights=path, device="cpu")
    given = create("super-slomo", weights=path, device="cpu", warp_convention="corner", mean=(0.1, 0.2, 0.3))
    assert decided.describe()["config"]["warp_convention"] == "half_pixel"
    assert any(note.startswith("Warp convention half_pixel: saved on") for note in decided.cautions([0.5]))
    assert given.describe()["config"] == {"warp_convention": "corner", "mean": [0.1, 0.2, 0.3]}
    assert any("given by the caller" in note for note in given.cautions([0.5]))


def test_options_go_to_networks_only(dsa_file):
    method = named_method("most-dsa", NetworkOptions(weights=dsa_file, device="cpu", tile=128))
    assert method.tile == 128
    with pytest.raises(UsageError, match="--weights, --tile"):
        named_method("linear", NetworkOptions(weights=dsa_file, tile=128))
    assert named_method("linear", NetworkOptions(device="cpu")).name == "linear"
    with pytest.raises(UsageError, match="warp-convention"):
        named_method("most-dsa", NetworkOptions(weights=dsa_file, warp_convention="exact"))
    with pytest.raises(UsageError, match="its options already"):
        named_method(method, NetworkOptions(weights=dsa_file))


def test_a_run_says_what_was_extrapolated(dsa_file):
    slow = interpolate(
        run(32, 32), factor=4, method="most-dsa", weights=dsa_file, device="cpu", tta=True, confidence="off"
    )
    assert slow.frame(1).shape == (32, 32)
    assert slow.records[1].method == "most-dsa+tta"
    assert slow.derivation.weights_sha256
    assert any("what is made at 0.25, 0.75 is extrapolated" in note for note in slow.notes)


def test_a_report_says_what_was_extrapolated(dsa_file):
    method = create("most-dsa", weights=dsa_file, device="cpu")
    cine = run(32, 32, length=5)
    trained = leave_one_out(cine, ["linear"], gaps=[2], chosen=method).notes
    assert not any("extrapolated" in note for note in trained)
    notes = leave_one_out(cine, ["linear"], gaps=[2, 4], chosen=method).notes
    assert any("what is made at 0.25, 0.75 is extrapolated" in note for note in notes)


def test_a_derived_run_tells_the_warp_convention(slomo):
    slow = interpolate(
        run(32, 32), factor=2, method=SuperSlomoMethod(weights=slomo("corner"), device="cpu"), confidence="off"
    )
    assert "warp convention corner" in slow.derivation.summary


def test_untrained_weights_lose_to_the_baselines_and_it_is_said(ready_method):
    result = leave_one_out(run(32, 48, length=5), ["hold", "linear"], gaps=[2], chosen=ready_method("most-dsa"))
    verdict = judge(result, "most-dsa")
    assert verdict.level == "alarm"
    assert any("most-dsa LOSES to linear blending" in line for line in verdict.lines())


def test_compiled_networks_give_the_same(small_dsa):
    frames = torch.rand(2, 1, 1, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = create("most-dsa", weights=small_dsa, device="cpu")
    compiled = create("most-dsa", weights=copy.deepcopy(small_dsa), device="cpu", compile=True)
    expected = plain.prepare_pair(*frames)(torch.tensor([0.5])).frames
    if shutil.which("c++") is None:
        with pytest.raises(ResourceError, match="cannot be compiled here"):
            compiled.prepare_pair(*frames)(torch.tensor([0.5]))
    else:
        torch.testing.assert_close(
            compiled.prepare_pair(*frames)(torch.tensor([0.5])).frames, expected, rtol=0, atol=1e-5
        )
