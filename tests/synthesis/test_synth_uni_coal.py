"""Uni-COAL as a method: any size, orientation and spacing; one latent or several; what weights were trained for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from scanweave import weights
from scanweave.errors import UsageError, WeightsError
from scanweave.grid import Grid
from scanweave.models import UniCoal, UniCoalConfig
from scanweave.synthesis import create, synthesize
from scanweave.synthesis.planes import Turn, in_windows, pixels_for, repixelled, starts
from scanweave.synthesis.uni_coal import UniCoalMethod
from scanweave.synthesis.uni_coal_task import Task
from scanweave.volume import Volume
from scanweave.weights import Card, card_of

SIDE = 16


def network(**config) -> UniCoal:
    torch.manual_seed(0)
    small = {"resolution": SIDE, "layers": 4, "channel_base": 64, "channel_max": 8, "skip_resolution": 8}
    made = UniCoal(UniCoalConfig(**small | config)).eval()
    with torch.no_grad():  # untrained generators make almost nothing of z and position
        for parameter in made.mapping.parameters():
            parameter.mul_(3)
    return made


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Threads wait for each other longer than networks this small compute."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def small() -> UniCoal:
    return network()


@pytest.fixture(scope="module")
def t1() -> Volume:
    voxels = np.random.default_rng(0).integers(1, 1000, (5, 14, 20)).astype(np.int16)
    lps = Grid.of_nifti((5, 14, 20), np.diag([-1.0, -1.0, 5.0, 1.0]))
    return Volume.from_array(voxels, affine=lps.affine)


def with_task(model: UniCoal, **task) -> UniCoal:
    model.card = card_of(model).model_copy(update={"training": {"config": {"task": task}}})
    return model


def test_a_slice_is_what_the_network_makes_of_the_specified_window(small):
    voxels = np.random.default_rng(1).integers(1, 1000, (5, SIDE, SIDE)).astype(np.int16)
    grid = Grid.of_nifti((5, SIDE, SIDE), np.diag([-1.0, -1.0, 4.0, 1.0]))  # the published orientation
    volume = Volume.from_array(voxels, affine=grid.affine)
    method = UniCoalMethod(weights=small, seed=3, device="cpu")
    seen = volume.with_levels(10, 900)
    made = method.fit({"T1": seen}).at("T2", [9.0]).frames
    source = 2 * torch.from_numpy(seen.unit()[0][[1, 2, 3, 4]]).clamp(0, 1) - 1  # n = 2: slices n - 1 .. n + 2
    z = torch.randn((1, 64), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = small(source[None], z, torch.tensor([[0.0, 0.0, 1.0]]), torch.tensor([[0.25]]))
    torch.testing.assert_close(made, (wanted + 1).div(2).clamp(0, 1), atol=1e-5, rtol=0)


def test_any_size_and_orientation_give_the_same_places(small, t1):
    method = UniCoalMethod(weights=small, device="cpu")
    made = synthesize({"T1": t1}, to="T2", spacing=2.5, method=method)
    assert made.volume.shape == (9, 14, 20) and made.volume.dtype == np.uint16
    for codes in ("RAS", "SRA"):
        turned = synthesize({"T1": t1.reoriented(codes)}, to="T2", spacing=2.5, method=method)
        back = turned.volume.reoriented(made.volume.grid.codes)
        assert back.grid.matches(made.volume.grid)
        np.testing.assert_allclose(back.real(), made.volume.real(), atol=0.02)


def test_one_latent_is_recorded_and_several_give_a_mean_and_a_spread(small, t1):
    one = [UniCoalMethod(weights=small, seed=seed, device="cpu").fit({"T1": t1}).at("T2", [5.0]) for seed in (0, 0, 1)]
    assert torch.equal(one[0].frames, one[1].frames) and not torch.equal(one[0].frames, one[2].frames)
    assert one[0].uncertainty is None
    many = UniCoalMethod(weights=small, samples=3, device="cpu")
    made = many.fit({"T1": t1}).at("T2", [5.0])
    assert made.uncertainty.shape == made.frames.shape and made.uncertainty.max() > 0
    told = many.describe()
    assert (told["samples"], told["seed"], len(told["sha256"])) == (3, 0, 64)
    result = synthesize({"T1": t1}, to="T2", method=many)
    assert result.uncertainty.grid.matches(result.volume.grid) and result.uncertainty.dtype == np.float32


def test_both_ways_is_blind_to_the_order_of_slices(small, t1):
    method = UniCoalMethod(weights=small, both_ways=True, device="cpu")
    made = method.fit({"T1": t1}).at("T2", [2.0, 8.0]).frames
    mirrored = Volume.from_array(t1.voxels[::-1].copy(), affine=t1.affine)
    again = method.fit({"T1": mirrored}).at("T2", [18.0, 12.0]).frames
    torch.testing.assert_close(made, again, atol=1e-5, rtol=0)


def test_orthogonal_passes_are_averaged_in_place(small):
    voxels = np.random.default_rng(2).integers(1, 1000, (SIDE, SIDE, SIDE)).astype(np.int16)
    cube = Volume.from_array(voxels, affine=Grid.of_nifti((SIDE,) * 3, np.diag([-1.0, -1.0, 1.0, 1.0])).affine)
    whole = synthesize({"T1": cube}, to="T2", method=UniCoalMethod(weights=small, orthogonal=True, device="cpu"))
    planes = [
        synthesize({"T1": cube}, to="T2", axis=axis, method=UniCoalMethod(weights=small, device="cpu")).volume.real()
        for axis in (0, 1, 2)
    ]
    np.testing.assert_allclose(whole.volume.real(), np.mean(planes, axis=0), atol=0.05)


def test_weights_say_what_they_make_of_what(t1):
    both = with_task(
        network(channels_in=8, contrasts=1, encoder_contrasts=1),
        sources=["T1", "FLAIR"], targets=["T2"], take="all", slices=4,
    )  # fmt: skip
    method = UniCoalMethod(weights=both, device="cpu")
    flair = t1.with_voxels(t1.voxels[:, ::-1].copy())
    made = synthesize({"FLAIR": flair, "T1": t1}, to="T2", method=method)
    other = synthesize({"T1": t1, "FLAIR": flair}, to="T2", method=method)
    np.testing.assert_array_equal(made.volume.voxels, other.volume.voxels)  # the order is that of the weights
    with pytest.raises(UsageError, match=r"make T2 of T1, FLAIR; the subject has T1"):
        synthesize({"T1": t1}, to="T2", method=method)
    with pytest.raises(UsageError, match="make T2, not PD"):
        synthesize({"T1": t1, "FLAIR": flair}, to="PD", method=method)


def test_published_weights_are_taken_for_the_order_of_their_authors(small):
    task = Task.of(small, card_of(small))
    assert [task.index(name) for name in ("T1", "PD", "T2")] == [0, 1, 2]
    assert task.inputs("T2", ["PD", "T1"], None) == ("PD",) and task.inputs("T1", ["PD", "T1"], None) == ("T1",)
    assert task.inputs("T2", ["PD", "T1"], "T1") == ("T1",)
    single = network(contrasts=1, encoder_contrasts=1)
    assert Task.of(single, card_of(single)).index("anything") == 0
    wrong = Card(network="uni-coal", config={}, origin="", training={"config": {"task": {"targets": ["T1", "T2"]}}})
    with pytest.raises(WeightsError, match="3 contrasts was not trained"):
        Task.of(small, wrong)


def test_weights_trained_on_published_datasets_make_what_files_call_otherwise():
    single = network(contrasts=1, encoder_contrasts=1)

    def task(sources: list[str], targets: list[str]) -> Task:
        told = {"sources": sources, "targets": targets, "take": "all", "slices": 4}
        return Task.of(single, Card(network="uni-coal", config={}, origin="", training={"config": {"task": told}}))

    between = task(["t1_lr4sr"], ["t1_hr4sr"])
    assert between.index("T1") == 0 and between.inputs("T1", ["T1", "FLAIR"], None) == ("T1",)
    assert between.inputs("t1", ["t1"], None) == ("t1",)
    both = task(["flair"], ["t1"])
    assert both.index("t1") == both.index("T1") == 0
    assert both.inputs("T1", ["T1", "FLAIR"], None) == ("FLAIR",) and both.inputs("T1", ["flair"], None) == ("flair",)
    with pytest.raises(UsageError, match="make T1, not T2"):
        both.index("T2")


def test_weights_without_positions_cannot_make_slices_between(t1):
    blind = network(position=False, encoder_position=False)
    method = UniCoalMethod(weights=blind, device="cpu")
    assert synthesize({"T1": t1}, to="T2", method=method).volume.shape == t1.shape
    with pytest.raises(UsageError, match="trained without positions"):
        synthesize({"T1": t1}, to="T2", spacing=2.0, method=method)


def test_the_predecessor_is_told_the_place_as_its_condition(t1):
    afcm = network(
        contrasts=1, position=False, encoder_modulated=False, fourier_input=False, border=0.0,
        encoder_contrasts=0, encoder_position=False,
    )  # fmt: skip
    made = UniCoalMethod(weights=afcm, device="cpu").fit({"T1": t1}).at("T1", [5.0, 7.5]).frames
    assert made.shape == (2, 1, 14, 20) and made.isfinite().all()


def test_weights_come_from_a_file_and_are_needed(small, t1, tmp_path):
    path = weights.save(small, tmp_path / "small.safetensors")
    made = synthesize({"T1": t1}, to="T2", weights=path)
    assert made.method["name"] == "uni-coal" and made.derivation.weights_sha256 == made.method["sha256"]
    with pytest.raises(WeightsError, match="none were given"):
        create("uni-coal")
    with pytest.raises(UsageError, match="0 samples"):
        create("uni-coal", weights=path, samples=0)
    with pytest.raises(UsageError, match="there is no PD"):
        create("uni-coal", weights=path, source="PD").fit({"T1": t1})


def test_windows_of_a_plane_cover_it_without_edges():
    assert starts(256, 256) == [0] and starts(300, 256) == [0, 44]
    for length in (17, 31, 40, 95):
        places = starts(length, SIDE)
        assert places[0] == 0 and places[-1] == length - SIDE
        assert max(np.diff(places)) <= SIDE - SIDE // 4

    def same(window: Tensor) -> Tensor:
        assert window.shape[-2:] == (SIDE, SIDE)
        return window

    for size in ((5, 7), (SIDE, SIDE), (10, 37), (41, 33)):
        slices = torch.rand(2, 3, *size)
        torch.testing.assert_close(in_windows(same, slices, side=SIDE, border=-1.0), slices)


@pytest.mark.parametrize("codes", ["LPS", "RAS", "ILA", "PSR", "SPL"])
def test_turning_shows_the_published_orientation_and_is_undone(codes):
    grid = Volume.from_array(np.zeros((2, 3, 4)), spacing=(1, 1, 1)).reoriented(codes).grid
    turn = Turn.of(grid)
    slices = torch.rand(grid.shape)
    torch.testing.assert_close(turn.undo(turn.apply(slices)), slices)
    where = [
        torch.from_numpy(grid.to_mm(np.argwhere(np.ones(grid.shape))).reshape(*grid.shape, 3)[..., k]) for k in range(3)
    ]
    seen = [turn.apply(one.flip(0) if turn.slices else one) for one in where]
    along = {axis: next(k for k in range(3) if seen[k].diff(dim=axis).abs().max() > 0) for axis in range(3)}
    rank = {2: 0, 1: 1, 0: 2}  # z, then y, then x
    assert rank[along[1]] < rank[along[2]]
    for axis, k in along.items():
        step = seen[k].diff(dim=axis)
        assert bool((step > 0).all()) == (k == 2)  # up to the head; back and left are down in RAS+


def test_pixels_are_brought_to_what_weights_were_trained_at_and_back():
    row, column = torch.meshgrid(torch.linspace(0, 1, 40), torch.linspace(0, 1, 24), indexing="ij")
    smooth = (row * (1 - row) * 4 * column)[None, None]
    for size in ((20, 12), (64, 32), (40, 24)):
        seen = repixelled(smooth, size)
        assert seen.shape[-2:] == size and abs(float(seen.mean() - smooth.mean())) < 1e-3
        torch.testing.assert_close(
            repixelled(seen, (40, 24))[..., 5:-5, 5:-5], smooth[..., 5:-5, 5:-5], atol=1e-3, rtol=0
        )
    assert pixels_for((40, 24), (0.5, 0.75), 1.0) == (20, 18) and pixels_for((40, 24), (1.01, 0.99), 1.0) == (40, 24)


def test_a_finer_grid_gives_what_the_pixels_of_the_weights_give(small):
    coarse = np.random.default_rng(2).integers(1, 1000, (2, 12, 12)).astype(np.int16)
    lps = np.diag([-1.0, -1.0, 5.0, 1.0])
    at_1mm = Volume.from_array(coarse, affine=Grid.of_nifti(coarse.shape, lps).affine)
    fine = coarse.repeat(2, axis=1).repeat(2, axis=2)
    half = Grid.of_nifti(fine.shape, np.diag([-0.5, -0.5, 5.0, 1.0]))
    finer = Volume.from_array(fine, affine=half.affine)
    network_1mm = with_task(network(), targets=["T2", "PD", "T1"])
    network_1mm.card = network_1mm.card.model_copy(update={"training": network_1mm.card.training | {"pixel_mm": 1.0}})
    method = UniCoalMethod(weights=network_1mm, device="cpu")
    assert method.seen_pixel == 1.0 and UniCoalMethod(weights=network_1mm, pixel=0, device="cpu").seen_pixel is None
    made = synthesize({"T1": finer}, to="T2", method=method)
    assert made.volume.grid.matches(half, tolerance=1e-6) and any("pixels of 1 mm" in note for note in made.notes)
    assert made.method["pixel"] is None
    fit = method.fit({"T1": finer}).at("T2", [0.0]).frames
    known = method.fit({"T1": at_1mm}).at("T2", [0.0]).frames
    torch.testing.assert_close(repixelled(fit, (12, 12)), known, atol=0.05, rtol=0)
    as_is = UniCoalMethod(weights=network_1mm, pixel=0, device="cpu").fit({"T1": finer}).at("T2", [0.0]).frames
    assert float((as_is - fit).abs().max()) > 1e-3
    with pytest.raises(UsageError, match="pixels of -1 mm"):
        UniCoalMethod(weights=network_1mm, pixel=-1.0)
    network_1mm.card = network_1mm.card.model_copy(update={"training": {"pixel_mm": -1}})
    with pytest.raises(WeightsError, match="pixels are -1 mm"):
        Task.of(network_1mm, network_1mm.card)
