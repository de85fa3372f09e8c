"""Uni-COAL's published configuration files: read safely, every option accounted for, faults mended and said."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import pytest
import yaml

from scanweave.errors import InputError, UsageError
from scanweave.plan import plain
from scanweave.synthesis.published_config import parse_command, parse_overrides, read_published
from scanweave.synthesis.published_options import OPTIONS, PATTERNS, option_of
from scanweave.synthesis.published_tasks import PUBLISHED_TASKS, Task, task_of
from scanweave.synthesis.recipe import UniCoalRecipeConfig
from scanweave.training.config import TrainingConfig
from scanweave.training.settings import build, read_settings

FINAL = {
    "name": "6_final",
    "loaders": {
        "batch_size": 16,
        "raw_internal_path_in": ["T1", "PD", "T2"],
        "raw_internal_path_out": ["T1", "PD", "T2"],
        "random_modality_in": True,
        "random_modality_out": True,
        "all_hr": True,
        "thickness": [4, 6, 2, 1],
        "slice_num": 4,
        "train": {
            "file_paths": ["data/train"],
            "transformer": {"raw": [{"name": "RandomFlip"}, {"name": "Normalize", "min_value": 0, "max_value": 255}]},
            "slice_builder": {"name": "SliceBuilder", "patch_shape": [1, 256, 256]},
        },
        "test": {"file_paths": ["data/test"], "ori_file_path": "data/registrated"},
    },
    "model": {
        "G": {
            "z_dim": 64,
            "c_dim": 3,
            "index_dim": 1,
            "img_channels_in": 4,
            "mapping_kwargs": {"num_layers": 2},
            "synthesis_kwargs": {
                "encoder_kwargs": {
                    "modulated": True,
                    "mapping_kwargs": {"c_dim": 3, "index_dim": 1, "embed_features": 64},
                },
            },
        },
        "D": {
            "c_dim": 3,
            "index_dim": 1,
            "img_channels": 5,
            "mapping_kwargs": {"num_layers": 2, "embed_features": 64},
        },
    },
    "optimizer": {"lr_G": 0.0025, "lr_D": 0.002},
    "loss": {"lambda_L1": 80, "lambda_sam": 100, "blur_init_sigma": 10, "blur_fade_kimg": 200},
    "scheduler": {"n_epochs": 50, "n_epochs_decay": 50, "lr_policy": "linear", "ema": {"enabled": True}},
    "display": {"wandb": {"project": "x"}},
}
"""The published final multi-task recipe, from its description."""

ADNI = """
_BASE_: base.yml
loaders: {raw_internal_path_in: [flair], raw_internal_path_out: [t1], thickness: [5], slice_num: 4}
model:
  G:
    c_dim: 1
    img_channels_in: 4
    encoder_kwargs: {modulated: true, mapping_kwargs: {c_dim: 1, index_dim: 1, embed_features: 64}}
  D: {c_dim: 1, index_dim: 1, img_channels: 5}
optimizer: {lr_G: 25e-4}
"""


@pytest.fixture
def written(tmp_path):
    """Write a configuration file and return its path."""

    def write(content, name="final.yml") -> Path:
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def adni(written) -> Path:
    written("loaders: {batch_size: 16}\noptimizer: {lr_G: 1.0, lr_D: 0.002}\n", "base.yml")
    return written(ADNI, "cmsr.yml")


def built(settings) -> UniCoalRecipeConfig:
    build(TrainingConfig, settings["training"], section="training")
    return build(UniCoalRecipeConfig, settings["recipe"], section="recipe")


def test_the_final_recipe_is_ours(written):
    told = read_published(written(FINAL))
    translated = told.training(sam=Path("sam_vit_b_01ec64.pth"))
    recipe = built(translated.settings)
    assert (recipe.task.sources, recipe.task.targets) == (("T1", "PD", "T2"),) * 2
    assert (recipe.task.take, recipe.task.slices, recipe.task.spacings) == ("one", 4, (4, 6, 2, 1))
    generator, critic, loss = recipe.generator, recipe.critic, recipe.loss
    assert (generator.latent, generator.mapping_layers, generator.encoder_modulated) == (64, 2, True)
    assert (generator.position, generator.encoder_position, critic.position) == (True, True, True)
    assert (critic.embedded, critic.mapping_layers, critic.group) == (64, 2, 16)
    assert (loss.absolute, loss.features, loss.penalty, loss.blur, loss.blur_fade) == (80, 100, 10, 10, 200_000)
    assert (recipe.rate.base, recipe.critic_rate.base, recipe.average_images) == (0.0025, 0.002, 10_000)
    assert recipe.one_z
    assert translated.settings["training"]["epochs"] == 100
    data = recipe.data
    assert (data.path, data.layout, data.flips, data.ends) == (Path("data"), "published", "sample", "replicate")
    assert set(told.idle) == {
        "scheduler.lr_policy",
        "display.wandb.project",
        "loaders.train.slice_builder.patch_shape",
    }
    assert "rates stay constant" in told.idle["scheduler.lr_policy"]


def differing(one, other, stem="") -> set[str]:
    """Return the dotted names of fields that two configurations have unlike."""
    names = set()
    for name in one:
        if isinstance(one[name], dict) and isinstance(other[name], dict):
            names |= differing(one[name], other[name], f"{stem}{name}.")
        elif one[name] != other[name]:
            names.add(stem + name)
    return names


@pytest.mark.parametrize("as_published", [True, False])
def test_the_final_recipe_is_the_shipped_preset(written, as_published):
    name = f"uni-coal-ixi-6-final{'-as-published' if as_published else ''}"
    preset = read_settings(Path(str(files("scanweave.synthesis") / "recipes" / f"{name}.yaml")))["recipe"]
    preset["loss"] = {**preset["loss"], "sam": "sam.pth"}
    ours = read_published(written(FINAL)).training(as_published=as_published, sam=Path("sam.pth"))
    left = differing(plain(built(ours.settings)), plain(build(UniCoalRecipeConfig, preset, section="recipe")))
    # where the data lie; positions are told either way, by the file or by the rule; and a start that is forgotten
    told = {"generator.position", "generator.encoder_position", "critic.position"}
    assert left - told == {"data.path", "data.layout"} | (set() if as_published else {"average_ramp"})


def test_the_networks_are_the_published_ones(written):
    from scanweave.models import create
    from scanweave.synthesis.recipe import UniCoalRecipe

    small = {"img_resolution": 32, "synthesis_kwargs": {"num_layers": 4, "channel_base": 256, "channel_max": 16}}
    content = {**FINAL, "loss": {**FINAL["loss"], "lambda_sam": 0}}
    content["model"] = {
        "G": {
            **FINAL["model"]["G"],
            **small,
            "encoder_kwargs": FINAL["model"]["G"]["synthesis_kwargs"]["encoder_kwargs"],
        },
        "D": {**FINAL["model"]["D"], "img_resolution": 32, "channel_base": 256, "channel_max": 16},
    }
    recipe = UniCoalRecipe(built(read_published(written(content)).training().settings), samples=())
    options = {"layers": 4, "channel_base": 256, "channel_max": 16, "resolution": 32}
    assert recipe.network.config == create("uni-coal", **options).config
    assert recipe.critic.config == create("uni-coal-critic", resolution=32, channel_base=256, channel_max=16).config


def test_a_file_builds_on_another_and_words_replace_options(adni):
    words = "optimizer.lr_G 0.00125 optimizer.lr_D 0.001 epoch best"
    told = read_published(adni, parse_overrides(words.split()))
    assert told.options["loaders.batch_size"] == 16
    assert (told.options["optimizer.lr_G"], told.options["optimizer.lr_D"]) == (0.00125, 0.001)
    assert read_published(adni).options["optimizer.lr_G"] == 0.0025
    assert told.generator == Path("checkpoints/cmsr/best_net_G_ema.pth")
    assert read_published(adni, [("load_iter", 7)]).critic == Path("checkpoints/cmsr/iter_7_net_D.pth")


def test_faults_of_a_recipe_are_mended_and_said(adni):
    mended, left = (read_published(adni).training(as_published=published) for published in (False, True))
    assert built(mended.settings).generator.position
    assert built(mended.settings).average_images == 10_000
    assert mended.settings["training"]["validate_every"] == 312
    assert [note.split(":")[0] for note in mended.notes[:2]] == [
        "The generator is told the position",
        "Average weights are trained",
    ]
    assert not built(left.settings).generator.position
    assert built(left.settings).untold_position and not built(mended.settings).untold_position
    assert built(left.settings).average_images is None
    assert left.settings["training"]["validate_every"] == 625
    assert all("as published" in note for note in left.notes)
    assert (built(mended.settings).data.ends, built(left.settings).data.ends) == ("replicate", "black")


def test_the_mode_of_the_data_tells_how_they_lie(adni):
    for mode, layout in {"cmsr": "published", "cmsrlazy": "published", "cmsrnii": "folder"}.items():
        told = read_published(adni, parse_overrides(["loaders.dataset_mode", mode])).training()
        assert built(told.settings).data.layout == layout


def test_the_published_commands_are_understood():
    words = "--config-file a.yml --model unicoal --eval-only --num-gpus 2 epoch latest"
    command = parse_command(words.split())
    assert (command.config_file, command.processes, command.overrides) == (Path("a.yml"), 2, (("epoch", "latest"),))
    assert set(command.idle) == {"--eval-only"}
    for words, said in {
        "--model unicoal": "no configuration file",
        "--config-file a.yml --model pix2pix": "comparisons",
        "--config-file a.yml --lr 2": "no --lr",
        "--config-file a.yml epoch": "epoch has no value",
        "--config-file a.yml --num-gpus x": "no number of processes",
        "--config-file": "has no value",
    }.items():
        with pytest.raises(UsageError, match=said):
            parse_command(words.split())


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("optimizer.lr_g 0.1", "no option optimizer.lr_g.*did you mean optimizer.lr_G"),
        ("optimizer.lr_G fast", "optimizer.lr_G is 'fast', which is no float"),
        ("loaders.slice_num 2.5", "which is no int"),
        ("loss.lambda_vgg 1.0", "perceptual term"),
        ("model.combine_ab False", "always sees the source"),
        ("loaders.out_thickness 2.0", "half of the slices"),
        ("epoch soon", "latest, best, or the number"),
        ("loaders.train.slice_builder.name FilterSliceBuilder", "grey levels"),
    ],
)
def test_what_cannot_be_had_is_refused(adni, changed, said):
    with pytest.raises(UsageError, match=said):
        read_published(adni, parse_overrides(changed.split()))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("loaders.dataset_mode provo", "comparisons"),
        ("loaders.thickness [0.5]", "1 at least"),
        ("loaders.raw_internal_path_in []", "no contrasts"),
        ("loaders.random_modality_in True", "all_hr is false"),
        ("model.G.img_channels_in 3", "is 3, not 4"),
        ("model.D.img_channels 4", "is 4, not 5"),
        ("model.G.c_dim 3", "is 3, not 1"),
        ("loaders.train.file_paths ['a','b']", "names 2 places"),
        ("transformer.train [{'name':'ElasticDeformation'}]", "ElasticDeformation are not offered"),
    ],
)
def test_trainings_that_contradict_themselves_are_refused(adni, changed, said):
    with pytest.raises(UsageError, match=said):
        read_published(adni, parse_overrides(changed.split())).training()


def test_nothing_of_a_file_is_run(written, tmp_path):
    trap = tmp_path / "run"
    hostile = written(f"name: !!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path [{trap}]]\n")
    with pytest.raises(InputError, match="more than plain values"):
        read_published(hostile)
    assert not trap.exists()
    assert read_published(written("loaders: {mirror_padding: !!python/tuple [0, 0, 0]}\n")).idle


def test_damaged_files_are_refused(written, tmp_path):
    written("_BASE_: b.yml\n", "a.yml")
    written("_BASE_: a.yml\n", "b.yml")
    with pytest.raises(InputError, match=r"builds on itself: a.yml -> b.yml -> a.yml"):
        read_published(tmp_path / "a.yml")
    for content, said in {
        "_BASE_: gone.yml\n": r"gone.yml: cannot be read, which final.yml builds on",
        "_BASE_: [a.yml]\n": "no file name",
        "- 1\n": "no mapping",
        "a: [\n": "no readable YAML",
    }.items():
        with pytest.raises(InputError, match=said):
            read_published(written(content))


def test_every_option_of_the_tables_has_a_fate():
    assert {option.fate for option in (*OPTIONS.values(), *PATTERNS.values())} == {"taken", "fixed", "idle"}
    assert all(option.why for option in (*OPTIONS.values(), *PATTERNS.values()) if option.fate != "taken")
    for name in ("model.G.synthesis_kwargs.num_fp16_res", "loss.gan_mode", "display.visdom.port"):
        assert option_of(name).fate == "idle"


# --- tasks


def test_tasks_follow_from_source_target_and_spacing():
    assert {data: len(tasks) for data, tasks in PUBLISHED_TASKS.items()} == {"ixi": 12, "brats19": 3, "adni": 2}
    for data, tasks in PUBLISHED_TASKS.items():
        for task in tasks:
            assert task_of(f"{data}/{task.name}") == Task.named(task.name) == task
    assert [Task("a", "b").kind, Task("a", "a", 2).kind, Task("a", "b", 2).kind] == ["CMS", "SR", "CMSR"]


@pytest.mark.parametrize("name", ["ixi/translation_T1_T3", "oasis/sr_T1_2x", "T1", "sr_T1_1x", "translation_T1_T1"])
def test_tasks_that_are_none_are_refused(name):
    with pytest.raises(UsageError):
        task_of(name)


def evaluation(name, source, target, spacing=()):
    loaders = {
        "raw_internal_path_in": [source],
        "raw_internal_path_out": ["T1", "PD", "T2"],
        "thickness": list(spacing),
        "test": {"target_modality": ["T1", "PD", "T2"].index(target)},
    }
    return {"loaders": loaders}, f"{name}.yml"


def test_the_misnamed_task_is_the_one_that_it_names(written):
    told = read_published(written(*evaluation("cmsr_T1_T2_4x", "T1", "T1", [6])))
    assert told.evaluation()[0] == Task("T1", "T2", 4)
    assert "its name holds" in told.evaluation()[1][0]
    assert told.evaluation(as_published=True)[0] == Task("T1", "T1", 6)


def test_a_source_that_is_the_last_target_works(written):
    task, notes = read_published(written(*evaluation("translation_T2_PD", "T2", "PD"))).evaluation()
    assert task == Task("T2", "PD")
    assert "fails with source T2" in notes[0]
    plain = read_published(written(*evaluation("any", "T1", "T2", [4]))).evaluation()
    assert plain == (Task("T1", "T2", 4), ())
    with pytest.raises(UsageError, match="no single task"):
        read_published(written(*evaluation("any", "T1", "T2", [4, 2]))).evaluation()
