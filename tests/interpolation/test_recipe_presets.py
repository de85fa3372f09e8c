"""What can be trained, and the named presets: each loads, and says what it claims."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pydantic import TypeAdapter

import scanweave.interpolation
from scanweave.errors import UsageError
from scanweave.interpolation.data import DataConfig
from scanweave.interpolation.recipe import RECIPES
from scanweave.interpolation.sources import (
    SimulationConfig,
    SourceConfig,
    ValidationConfig,
    manifest_sha256,
    open_sources,
    trained_between,
)
from scanweave.training import Horizon, TrainingConfig
from scanweave.training.loading import load
from scanweave.training.order import validation_draw

PRESETS = sorted((Path(scanweave.interpolation.__file__).parent / "recipes").glob("*.yaml"))


def loaded(path):
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(content) == {"training", "recipe"}
    (entry,) = (RECIPES[name] for name in RECIPES if path.name.startswith(f"{name}-"))
    training = TypeAdapter(TrainingConfig).validate_python(content["training"])
    return training, entry, TypeAdapter(entry.config).validate_python(content["recipe"])


def preset(name):
    return loaded(next(path for path in PRESETS if path.stem == name))


def test_there_are_presets_of_every_recipe():
    assert len(PRESETS) >= 8
    assert {name for name in RECIPES for path in PRESETS if path.name.startswith(f"{name}-")} == set(RECIPES)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_a_preset_loads_and_misses_its_data_only(path):
    training, entry, config = loaded(path)
    assert training.length(10) > 0
    if config.source == "folder":
        with pytest.raises(UsageError, match=r"data\.path"):
            entry.build(config)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_most_dsa_as_published(count):
    training, _, config = preset(f"most-dsa-published-inf{count}")
    assert (training.epochs, training.batch, training.seed) == (300, 4 * 8, 9182)
    assert trained_between(config) == config.validation.inter_frames == count
    horizon = Horizon(30_000, 100, 32)
    assert config.rate.at(1999, horizon) == pytest.approx(1.999e-4)
    terms = [config.terms.laplacian, config.terms.perceptual, config.terms.style]
    assert [[w.at(step, horizon) for w in terms] for step in (0, 100)] == [[1, 0.25, 0], [1, 0.25, 40]]


def test_super_slomo_as_published():
    training, _, config = preset("super-slomo-published")
    assert (training.epochs, training.batch) == (200, 6)
    assert trained_between(config) == 7
    horizon = Horizon(2000, 10, 6)
    assert [config.rate.at(10 * epoch, horizon) for epoch in (98, 99, 149)] == pytest.approx([1e-4, 1e-5, 1e-6])
    terms = config.terms
    final = [w.last for w in (terms.reconstruction, terms.warping, terms.perceptual, terms.smoothness)]
    assert final == [204, 102, 0.005, 1]
    assert config.warp_convention == "half_pixel"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_no_preset_validates_on_what_it_trains_on(path):
    _, _, config = loaded(path)
    assert config.data.split == "train"
    assert config.validation.split in ("validation", "test")


def test_options_of_validation_keep_the_defaults_of_the_rest():
    config = TypeAdapter(SourceConfig).validate_python({"validation": {"gaps": [2, 3]}})
    assert (config.validation.split, config.validation.augmentation) == ("validation", "pad")


def test_better_presets_know_no_single_time():
    for name in ("most-dsa-any-time", "super-slomo-mixed-gaps", "most-dsa-simulated"):
        assert trained_between(preset(name)[2]) is None


def test_simulated_samples_are_what_recipes_take():
    """Two pairs with random times of their own, through the recipe of the tiny preset."""
    _, entry, tiny = preset("most-dsa-tiny")
    simulation = SimulationConfig(size=(64, 64), length=4, validation_length=2, random_times=2, scene="both")
    adapter = TypeAdapter(entry.config)
    plain = adapter.dump_python(tiny) | {"source": "simulation", "simulation": simulation}
    recipe = entry.build(adapter.validate_python(plain))
    assert (len(recipe.samples()), len(recipe.validation())) == (4, 2)
    parts = [[validation_draw(recipe.samples(), index, seed=0) for index in range(2)]]
    (batch,) = load(recipe.samples(), parts, device=torch.device("cpu"), workers=0, prefetch=1)
    recipe.begin(Horizon(10, 2, 2))
    (update,) = recipe.updates(batch, 0)
    assert update.loss.isfinite()


def test_validation_lies_in_the_set_that_is_trained_on_with_its_layout_and_lists(tmp_path):
    for split, name in (("Train", "a"), ("Validation", "b")):
        (tmp_path / "frames" / name).mkdir(parents=True)
        for frame in ("frame_1", "frame_2_gt", "frame_3"):
            Image.new("L", (32, 32)).save(tmp_path / "frames" / name / f"{frame}.png")
        (tmp_path / f"{split}List.txt").write_text(f"{name}\n")
    data = DataConfig(path=tmp_path / "frames", lists=tmp_path, sampling="windows")
    samples, validation = open_sources(SourceConfig(data=data, validation=ValidationConfig(sampling="windows")))
    assert [one.draw(0, generator=np.random.default_rng(0))["clip"] for one in (samples, validation)] == ["a", "b"]
    (tmp_path / "ValidationList.txt").unlink()
    with pytest.raises(UsageError, match=r"to validate on: no clips .*'validation'.* or set recipe.validate false"):
        open_sources(SourceConfig(data=data, validation=ValidationConfig(sampling="windows")))
    assert open_sources(SourceConfig(data=data, validate=False))[1] is None


def test_a_training_set_is_known_by_its_manifest(tmp_path):
    def told(**options):
        return manifest_sha256(SourceConfig(data=DataConfig(path=tmp_path), **options))

    assert told() is None
    (tmp_path / "manifest.json").write_text("{}")
    assert told() == hashlib.sha256(b"{}").hexdigest()
    assert told(source="simulation") is None


def test_simulated_targets_lie_on_the_grid_asked_for():
    config = SourceConfig(source="simulation", simulation=SimulationConfig(inter_frames=3, validation_length=0))
    samples, validation = open_sources(config)
    assert samples.config.times == (0.25, 0.5, 0.75)
    assert validation is None
