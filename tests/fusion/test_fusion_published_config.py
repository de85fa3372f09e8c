"""Published training files in our words, and the shipped configurations."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest

from scanweave.errors import InputError, UsageError
from scanweave.fusion.edvr_stf_recipe import EdvrStfRecipeConfig
from scanweave.fusion.published_config import read_published_yaml
from scanweave.fusion.swin_xvr_recipe import SwinXvrRecipeConfig
from scanweave.training import TrainingConfig
from scanweave.training.settings import build, read_settings

EDVR = """
name: EDVR_L_x4_STF
model_type: EDVRModel
scale: 4
num_gpu: 8
manual_seed: 10
datasets:
  train:
    name: REDS
    type: REDSDatasetSTF
    dataroot_gt: hr
    dataroot_lq: lr
    meta_info_file: meta.txt
    val_partition: REDS4
    io_backend: {type: disk}
    num_frame: 3
    gt_size: 256
    interval_list: [1]
    random_reverse: false
    use_hflip: true
    use_rot: true
    batch_size_per_gpu: 1
    dataset_enlarge_ratio: 200
    num_worker_per_gpu: 3
  val: {name: REDS4, type: VideoTestDataset, dataroot_gt: hr, dataroot_lq: lr}
network_g: {type: EDVRSTF, num_in_ch: 1, num_feat: 128, num_extract_block: 5, num_reconstruct_block: 40, with_tsa: true}
path: {pretrain_network_g: ~, strict_load_g: true, resume_state: ~}
train:
  tsa_iter: 50000
  optim_g: {type: Adam, lr: 1e-4, weight_decay: 0, betas: [0.9, 0.99]}
  scheduler:
    type: CosineAnnealingRestartLR
    periods: [50000, 100000, 150000, 150000, 150000]
    restart_weights: [1, 0.5, 0.5, 0.5, 0.5]
    eta_min: 1e-7
  total_iter: 600000
  warmup_iter: -1
  pixel_opt: {type: CharbonnierLoss, loss_weight: 1.0, reduction: sum}
val:
  val_freq: 5e3
  metrics: {psnr: {type: calculate_psnr, crop_border: 0}}
logger: {print_freq: 100, save_checkpoint_freq: 5e3, use_tb_logger: true}
dist_params: {backend: nccl, port: 29500}
"""

SWIN = """
model_type: SwinIRModel
num_gpu: 4
manual_seed: 0
datasets:
  train:
    type: XrayDatasetSTF
    dataroot_gt: hr
    dataroot_lq: lr
    dataroot_context: all
    meta_info_context: map.csv
    use_nearest_context: true
    gt_size: 96
    poisson_noise_b0_exp: [1, 7]
    use_hflip: true
    use_rot: true
network_g: {type: PatchTransformerSTF, embed_dim: 384, num_heads: [6, 6, 6, 6], depths: [2, 2, 18, 2],
  window_size: [5, 4, 4], mlp_ratio: 2, drop_path_rate: 0.2, upsampler: pixelshuffle}
train:
  ema_decay: 0.999
  optim_g: {type: Adam, lr: !!float 5e-6}
  scheduler: {type: CosineAnnealingRestartLR, periods: [30000], restart_weights: [1], eta_min: !!float 1e-7}
  total_iter: 30000
  warmup_iter: 100
  pixel_opt: {type: L1Loss, loss_weight: 1, reduction: mean}
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        path = tmp_path / "published.yml"
        path.write_text(text)
        return path

    return write


def built(told):
    kind = EdvrStfRecipeConfig if told["job"] == "edvr-stf" else SwinXvrRecipeConfig
    training = build(TrainingConfig, told["training"], section="training")
    return training, build(kind, told["recipe"], section="recipe")


def test_a_file_of_edvr_is_the_shipped_configuration(written):
    told = read_published_yaml(written(EDVR))
    training, recipe = built(told)
    shipped = read_settings(Path(str(files("scanweave.fusion") / "recipes/edvr-stf-reds.yaml")))
    _, ours = built({"job": "edvr-stf", **shipped})
    assert (recipe.rate, recipe.loss, recipe.fusion_first) == (ours.rate, ours.loss, ours.fusion_first)
    assert recipe.pairs.frames == ours.pairs.frames and recipe.pairs.patch == ours.pairs.patch
    assert (recipe.pairs.enlarge, recipe.pairs.partition) == (200, "REDS4")
    assert (training.steps, training.batch, training.processes, training.seed) == (600000, 8, 8, 10)
    assert training.validate_every == training.checkpoint_every == 5000
    assert any(note.startswith("dist_params.backend") for note in told["notes"])


def test_a_file_of_swin_xvr_with_context_and_noise(written):
    training, recipe = built(read_published_yaml(written(SWIN)))
    assert recipe.network.window == (5, 4, 4) and recipe.network.width == recipe.network.features == 384
    assert recipe.pairs.patch.photons == (1, 7) and recipe.pairs.patch.side == 96
    assert recipe.pairs.context == Path("all") and recipe.pairs.frames.sharp_step == "frame"
    assert (recipe.rate.base, recipe.rate.warm_up, recipe.average, recipe.average_from_start) == (
        5e-6,
        100,
        0.999,
        True,
    )
    assert (recipe.loss.kind, recipe.loss.reduction, training.batch) == ("l1", "mean", 4)
    without = read_published_yaml(written(SWIN.replace("use_nearest_context: true", "use_nearest_context: false")))
    assert built(without)[1].pairs.context is None


def test_only_the_reader_of_virtual_x_ray_clips_leaves_first_frames_out(written):
    first = [
        built(read_published_yaml(written(SWIN.replace("XrayDatasetSTF", name))))[1].pairs.frames.second_from
        for name in ("XrayDatasetSTF", "REDSDatasetSTF", "XrayContextDataset")
    ]
    assert first == [2234, None, None]
    shipped = Path(str(files("scanweave.fusion") / "recipes/swin-xvr-xray-context.yaml"))
    assert built({"job": "swin-xvr", **read_settings(shipped)})[1].pairs.frames.second_from is None


def test_the_rate_from_scratch_is_that_of_the_normative_revision():
    shipped = Path(str(files("scanweave.fusion") / "recipes/swin-xvr-reds.yaml"))
    assert built({"job": "swin-xvr", **read_settings(shipped)})[1].rate.base == 5e-6


def test_unknown_options_are_named_with_the_nearest(written):
    with pytest.raises(UsageError, match=r"train\.tsa_itr \(did you mean train\.tsa_iter\?\); colour"):
        read_published_yaml(written(EDVR.replace("tsa_iter", "tsa_itr") + "colour: red\n"))


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        ("type: Adam", "type: SGD", "optim_g.type"),
        ("scale: 4", "scale: 2", "scale is 2"),
        ("resume_state: ~", "resume_state: 5.state", "resume_state"),
        ("use_rot: true", "use_rot: false", "use_hflip"),
        ("model_type: EDVRModel", "model_type: ESRGANModel", "model_type"),
        ("gt_size: 256", "gt_size: large", "gt_size"),
        ("betas: [0.9, 0.99]", "betas: 0.9", "betas"),
        ("batch_size_per_gpu: 1", "batch_size_per_gpu: two", "batch_size_per_gpu"),
        ("warmup_iter: -1", "warmup_iter: long", "warmup_iter"),
        ("total_iter: 600000", "total_iter: 0.5", "total_iter"),
        ("total_iter: 600000", "total_iter: .inf", "total_iter"),
    ],
)
def test_what_cannot_be_had_is_refused(written, old, new, match):
    with pytest.raises(UsageError, match=match):
        read_published_yaml(written(EDVR.replace(old, new)))


def test_clips_of_reds_take_every_frame_whatever_intervals_are_listed(written):
    told = read_published_yaml(written(EDVR.replace("interval_list: [1]", "interval_list: [1, 2, 3]")))
    frames = built(told)[1].pairs.frames
    assert (frames.intervals, frames.intervals_from) == ((1, 2, 3), 270)


def test_one_cosine_and_steps_that_yaml_takes_for_words(written):
    text = SWIN.replace(
        "CosineAnnealingRestartLR, periods: [30000], restart_weights: [1]", "TrueCosineAnnealingLR, T_max: 3e4"
    )
    assert built(read_published_yaml(written(text)))[1].rate.periods == (30000,)
    text = EDVR.replace("[50000,", "[5e4,").replace("warmup_iter: -1", "warmup_iter: none")
    rate = built(read_published_yaml(written(text)))[1].rate
    assert (rate.periods[0], rate.warm_up) == (50000, 0)


def test_files_that_would_run_code_are_refused(written, tmp_path):
    with pytest.raises(InputError, match="more than plain values"):
        read_published_yaml(written("name: !!python/object/apply:os.getcwd []\n"))
    with pytest.raises(InputError, match="cannot be read"):
        read_published_yaml(tmp_path / "none.yml")


@pytest.mark.parametrize("of", ["{{x: {0}, y: {0}}}", "[{0}, {0}]", "{{<<: [{0}, {0}]}}"])
def test_aliases_that_would_fill_the_memory_are_refused(written, of):
    doubled = "".join(f"a{k + 1}: &a{k + 1} {of.format(f'*a{k}')}\n" for k in range(60))
    with pytest.raises(InputError, match="more than 10000 values"):
        read_published_yaml(written("a0: &a0 {z: 1}\n" + doubled))


def test_sections_inside_themselves_or_too_deep_are_refused(written):
    with pytest.raises(InputError, match="more than 10000 values"):
        read_published_yaml(written("a: &a {b: *a}\n"))
    for depth in (30, 3000):
        with pytest.raises(InputError, match="nests sections"):
            read_published_yaml(written("{a: " * depth + "1" + "}" * depth))
    told = read_published_yaml(written(EDVR.replace("weight_decay: 0", "weight_decay: &none 0") + "name: *none\n"))
    assert told["job"] == "edvr-stf", "an alias is no harm"


@pytest.mark.parametrize(
    "name", [one.name for one in (files("scanweave.fusion") / "recipes").iterdir() if one.name[:4] in ("edvr", "swin")]
)
def test_shipped_configurations_are_whole(name):
    settings = read_settings(Path(str(files("scanweave.fusion") / "recipes" / name)))
    training, recipe = built({"job": name[:8], **settings})
    assert training.steps and recipe.rate.base > 0
