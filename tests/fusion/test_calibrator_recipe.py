import numpy as np
import pytest
import tifffile
import torch
from PIL import Image

from scanweave import weights
from scanweave.cli import main
from scanweave.errors import InputError, UsageError, WeightsError
from scanweave.fusion.calibrator_data import RunSamples, RunsConfig, TargetSamples, ViewsConfig, two_views
from scanweave.fusion.calibrator_losses import sequence_loss
from scanweave.fusion.calibrator_recipe import CalibratorRecipe, CalibratorRecipeConfig, calibrator
from scanweave.fusion.calibrator_weights import flow_network
from scanweave.fusion.flow_warp import warp_by_flow
from scanweave.models import EdvrStf, EdvrStfConfig, Raft, RaftConfig
from scanweave.training import Horizon

MOVED = {"scaling": (0.97, 1.03), "rotation": (-0.03, 0.03), "translation": (-0.08, 0.08)}
SMALL = {"features": 8, "groups": 2, "extracted": 1, "reconstructed": 1}


def rng(seed=0):
    return np.random.default_rng(seed)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs in one folder, and a list of clips."""
    folder = tmp_path_factory.mktemp("runs")
    rows, columns = np.mgrid[:140, :160]
    for name, frames in (("000", 6), ("001", 5)):
        (folder / name).mkdir()
        for t in range(frames):
            frame = 2000 + 900 * np.sin((columns + t) / 9) * np.cos(rows / 7)
            tifffile.imwrite(folder / name / f"{t:08d}.tif", frame.astype(np.uint16), photometric="minisblack")
    (folder / "meta.txt").write_text("000 6 (140,160,1)\n001 5 (140,160,1)\n")
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Weights as published: of RAFT for grey and for colour, of an evaluator."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    for name, channels in (("grey", 1), ("colour", 3)):
        torch.save(
            {f"module.{k}": v for k, v in Raft(RaftConfig(channels=channels)).state_dict().items()}, folder / name
        )
    torch.save({"params": EdvrStf(EdvrStfConfig(**SMALL)).state_dict()}, folder / "evaluator")
    return folder


def batch_of(samples, count=2):
    drawn = [samples.draw(i, generator=rng(i)) for i in range(count)]
    made = [samples.make(one) for one in drawn]
    return {name: torch.stack([one[name] for one in made]) for name in made[0]}


# --- samples


def test_known_flow_puts_the_coarse_view_in_place():
    rows, columns = np.mgrid[:200, :220].astype(np.float32)
    frame = torch.from_numpy(0.5 + 0.4 * np.sin(columns / 9) * np.cos(rows / 8))
    drawn = {"values": [1.02, 0.99, 0.02, 0.05, -0.04], "exponent": None, "seed": 0}
    made = two_views(frame.expand(5, -1, -1), (40, 30), drawn, ViewsConfig(ratio=1))
    assert made["known"].all()
    torch.testing.assert_close(made["sharp"][1, 0], 255 * frame[30:158, 40:168])
    # the warp is exact to first order of the motion: scales of 2 % leave a 2500th of 64 pixels
    placed, inside = warp_by_flow(made["coarse"][None], made["flow"][None])
    off = (placed[0, 1, 0] - made["sharp"][1, 0])[inside[0].all(dim=0)]
    before = (made["coarse"] - made["sharp"])[1]
    assert off.abs().max() < 255 * 0.02
    assert before.abs().max() > 255 * 0.2


def test_flow_points_from_the_coarse_view_to_the_sharp_one():
    frame = torch.rand(1, 160, 160, generator=torch.Generator().manual_seed(0))
    drawn = {"values": [1.0, 1.0, 0.0, 10 / 63.5, -4 / 63.5], "exponent": None, "seed": 0}
    made = two_views(frame.expand(5, -1, -1), (16, 16), drawn, ViewsConfig(ratio=1))
    torch.testing.assert_close(made["flow"][:, 0, 0], torch.tensor([10.0, -4.0]), atol=1e-4, rtol=0)
    # what lies at (x, y) of the coarse view lies at (x + 10, y - 4) of the sharp one
    torch.testing.assert_close(made["coarse"][1, 0, 4:, :-10], made["sharp"][1, 0, :-4, 10:], atol=2e-2, rtol=0)


def test_coarse_frames_are_means_of_blocks_with_the_photons_asked_for():
    frame = torch.full((5, 128, 128), 0.5)
    frame[:, ::2] = 0.25
    drawn = {"values": [1.0, 1.0, 0.0, 0.0, 0.0], "exponent": None, "seed": 4}
    plain = two_views(frame, (0, 0), drawn, ViewsConfig())["coarse"]
    torch.testing.assert_close(plain, torch.full_like(plain, 255 * 0.375))
    noisy = two_views(frame, (0, 0), drawn | {"exponent": 3.0}, ViewsConfig())["coarse"]
    # enlarged bilinearly by 4, a pixel is a mean of neighbours: with weights 1/8, 3/8, 5/8, 7/8 along each axis
    passed = np.mean([a * a + (1 - a) ** 2 for a in (1 / 8, 3 / 8)]) ** 2
    assert float(noisy.var()) == pytest.approx(255**2 * 0.375 / 1000 * passed, rel=0.1)


def test_places_beyond_the_frame_are_not_known():
    drawn = {"values": [1.0, 1.0, 0.0, 0.5, 0.0], "exponent": None, "seed": 0}
    known = two_views(torch.rand(5, 128, 128), (0, 0), drawn, ViewsConfig())["known"]
    assert known[:, :96].all()
    assert not known[:, 97:].any()


def test_runs_are_found_by_folder_and_by_list(runs):
    views = ViewsConfig(**MOVED)
    by_folder = RunSamples.of(views, RunsConfig(path=runs, repeats=3))
    by_list = RunSamples.of(views, RunsConfig(path=runs, meta=runs / "meta.txt"))
    assert len(by_folder) == 3 * len(by_list) == 9
    drawn = by_list.draw(2, generator=rng())
    assert (drawn["run"], drawn["first"]) == (1, 0)
    sample = by_list.make(drawn)
    assert {name: tuple(one.shape) for name, one in sample.items()} == {
        "coarse": (3, 1, 128, 128), "sharp": (3, 1, 128, 128), "flow": (2, 128, 128), "known": (128, 128),
    }  # fmt: skip
    for name, one in by_list.make(drawn).items():
        assert one.equal(sample[name])


def test_pictures_of_three_equal_channels_count_as_grey(tmp_path):
    grey = rng().integers(0, 255, (5, 128, 128), np.uint8)
    for name in ("alike", "coloured"):
        (tmp_path / name).mkdir()
        for t, frame in enumerate(grey):
            pixels = np.stack([frame] * 3, axis=-1)
            pixels[0, 0, 1] += name == "coloured"
            Image.fromarray(pixels).save(tmp_path / name / f"{t:08d}.png")
    samples = RunSamples.of(ViewsConfig(), RunsConfig(path=tmp_path / "alike"))
    made = samples.make(samples.draw(0, generator=rng()))
    torch.testing.assert_close(made["sharp"][:, 0], torch.from_numpy(grey[[0, 2, 4]]).float())
    coloured = RunSamples.of(ViewsConfig(), RunsConfig(path=tmp_path / "coloured"))
    with pytest.raises(InputError, match="has colours"):
        coloured.make(coloured.draw(0, generator=rng()))


def test_runs_that_cannot_be_used_are_named(runs, tmp_path):
    views = ViewsConfig()
    for text, said in (("000 7 (1,1,1)", "has 6 frames"), ("000 six (1,1,1)", "line 1"), ("\n", "lists no clip")):
        (tmp_path / "meta.txt").write_text(text)
        with pytest.raises(InputError, match=said):
            RunSamples.of(views, RunsConfig(path=runs, meta=tmp_path / "meta.txt"))
    with pytest.raises(InputError, match="smaller than the window"):
        RunSamples.of(ViewsConfig(window=256), RunsConfig(path=runs))
    with pytest.raises(InputError, match="no run of 9 frames"):
        RunSamples.of(ViewsConfig(span=9), RunsConfig(path=runs))
    with pytest.raises(UsageError, match=r"runs\.path"):
        RunSamples.of(views, RunsConfig())
    for wrong in ({"span": 4}, {"ratio": 3}, {"scaling": (1.1, 0.9)}, {"scaling": (0.0, 1.0)}):
        with pytest.raises(UsageError):
            ViewsConfig(**wrong)


# --- the recipe


def recipe_of(samples=(), **options):
    recipe = CalibratorRecipe(CalibratorRecipeConfig(**{"factor": 0, "iterations": 2} | options), samples)
    recipe.begin(Horizon(10, 10, 1))
    return recipe


def test_a_step_trains_the_flow_network_and_leaves_the_evaluator(files):
    recipe = recipe_of(factor=2.0, evaluator=str(files / "evaluator"), start=str(files / "grey"))
    before = {name: value.clone() for name, value in recipe.evaluator.state_dict().items()}
    batch = batch_of(TargetSamples(ViewsConfig(**MOVED), 2), count=1)
    (update,) = recipe.updates(batch, 0)
    with torch.no_grad():
        flows = recipe.network.sequence(batch["coarse"][:, 1], batch["sharp"][:, 1], iterations=2)
        _, inside = warp_by_flow(batch["coarse"], flows[-1])
    valid = batch["known"].bool() & inside.all(dim=1)
    expected = sequence_loss(flows, batch["flow"], valid)
    assert float(update.logs["flow_loss"].detach()) == pytest.approx(float(expected), rel=1e-5)
    total = expected + 2 * update.logs["fused_loss"].detach()
    assert float(update.loss.detach()) == pytest.approx(float(total), rel=1e-5)
    update.loss.backward()
    assert all(one.grad is not None and one.grad.isfinite().all() for one in recipe.network.parameters())
    assert all(one.grad is None for one in recipe.evaluator.parameters())
    for name, value in recipe.evaluator.state_dict().items():
        assert value.equal(before[name])
    scores = recipe.validate(batch)
    assert set(scores) == {"epe", "1px", "3px", "5px", "psnr"}
    assert all(one.shape == (1,) for one in scores.values())
    (picture,) = recipe.pictures(batch).values()
    assert picture.shape == (1, 128, 384)


def test_fused_frames_pull_the_flow(files):
    """The loss of fused frames alone reaches the flow, through the warp."""
    recipe = recipe_of(factor=1.0, evaluator=str(files / "evaluator"), mask_valid_for_fusion=True)
    batch = batch_of(TargetSamples(ViewsConfig(**MOVED), 1), count=1)
    (update,) = recipe.updates(batch, 0)
    gradients = torch.autograd.grad(update.logs["fused_loss"], recipe.network.update_block.flow_head.conv2.weight)
    assert gradients[0].abs().max() > 0


def test_running_means_rest_in_weights_given(files):
    batch = batch_of(TargetSamples(ViewsConfig(**MOVED), 1), count=1)
    for options, moves in (({"start": str(files / "grey")}, False), ({}, True)):
        recipe = recipe_of(**options, iterations=1)
        before = recipe.network.cnet.norm1.running_mean.clone()
        with torch.no_grad():
            next(recipe.updates(batch, 0))
        assert recipe.network.cnet.norm1.running_mean.equal(before) is not moves


def test_colour_weights_answer_to_grey_as_to_three_equal_channels(files):
    with pytest.raises(UsageError, match=r"--recipe\.colour sum"):
        flow_network(str(files / "colour"), split=None, colour="refuse", seed=0)
    grey = flow_network(str(files / "colour"), split=None, colour="sum", seed=0).eval()
    public = weights.open("raft", files / "colour")
    view = torch.rand(1, 1, 32, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for name in ("fnet", "cnet"):
            made, expected = getattr(grey, name)(view), getattr(public, name)(view.expand(-1, 3, -1, -1))
            torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
    mean = flow_network(str(files / "colour"), split=None, colour="mean", seed=0)
    torch.testing.assert_close(3 * mean.fnet.conv1.weight, grey.fnet.conv1.weight)


def test_a_second_encoder_starts_as_the_first(files):
    split = flow_network(str(files / "grey"), split=True, colour="refuse", seed=0).eval()
    whole = flow_network(str(files / "grey"), split=None, colour="refuse", seed=0).eval()
    views = torch.rand(2, 1, 1, 32, 40, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        for made, expected in zip(split.encode(*views), whole.encode(*views), strict=True):
            torch.testing.assert_close(made, expected, atol=1e-4, rtol=1e-4)
    assert split.fnet2.conv1.weight.data_ptr() != split.fnet.conv1.weight.data_ptr()


def test_a_published_calibrator_holds_both_networks_and_is_gone_on_from(files, tmp_path):
    recipe = recipe_of(factor=1.0, evaluator=str(files / "evaluator"), start=str(files / "grey"))
    ours, theirs = recipe.export(tmp_path, "final")
    state = torch.load(theirs, weights_only=True)
    assert {key.split(".")[1] for key in state} == {"flow_model", "model"}
    again = recipe_of(factor=1.0, full=str(theirs))
    for part in ("network", "evaluator"):
        for key, value in getattr(recipe, part).state_dict().items():
            assert getattr(again, part).state_dict()[key].equal(value), key
    assert weights.card_of(weights.open("raft", ours)).training["config"]["factor"] == 1
    assert recipe_of(full=str(theirs)).evaluator is None


def test_contradictions_are_refused(files):
    with pytest.raises(UsageError, match=r"--recipe\.evaluator"):
        calibrator(CalibratorRecipeConfig(source="targets"))
    with pytest.raises(UsageError, match="full names both"):
        recipe_of(full="a", start="b")
    with pytest.raises(WeightsError):
        recipe_of(factor=1, evaluator=str(files / "grey"))
    split = flow_network(None, split=True, colour="refuse", seed=0)
    with pytest.raises(UsageError, match="an encoder for each camera"):
        path = files / "split"
        torch.save(split.state_dict(), path)
        flow_network(str(path), split=False, colour="refuse", seed=0)


def test_the_command_trains_from_a_preset(runs, tmp_path, capsys):
    words = ["train", "raft", "--config", "raft-calibrator-simulated", "-o", str(tmp_path / "out")]
    short = ["--training.steps", "1", "--training.batch", "1", "--training.workers", "0", "--training.device", "cpu"]
    few = [
        "--recipe.views.window",
        "128",
        "--recipe.views.ratio",
        "4",
        "--recipe.validation-length",
        "1",
        "--recipe.iterations",
        "1",
        "--training.validation-batch",
        "1",
    ]
    assert main([*words, *short, *few]) == 0
    assert "epe" in capsys.readouterr().out
    cards = [weights.read_card(path) for path in (tmp_path / "out").rglob("*.safetensors")]
    assert {card.licence for card in cards if card is not None} == {"Apache-2.0"}


@pytest.mark.parametrize("name", ["raft-calibrator-as-published", "raft-calibrator-fine-tune-as-published"])
def test_published_presets_resolve(name, capsys):
    assert main(["train", "raft", "--config", name, "--print-config"]) == 0
    said = capsys.readouterr().out
    assert "steps: 100000" in said
    assert "clip_norm: 1.0" in said
