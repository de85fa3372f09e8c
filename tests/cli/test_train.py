"""The command `train`: configurations in files and words, and what is refused."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from pydantic.dataclasses import dataclass as checked

from scanweave.cli import main, train
from scanweave.training import RecipeEntry, TrainingConfig
from scanweave.training.checkpoints import Checkpoints
from scanweave.training.settings import build, commented_yaml, documentation
from scanweave.weights import WeightsWarning

TOYS = Path(__file__).parents[1] / "training" / "toys.py"


@dataclass(frozen=True)
class Loss:
    """Weights of the terms."""

    square: float = 1.0
    """Weight of the squared
    error."""

    names: tuple[str, ...] = ("off", "1e-3", "a: b")
    """What YAML might mistake."""


@checked(frozen=True, kw_only=True)
class ToyConfig:
    """A toy."""

    width: int = 8
    """Hidden units."""

    start: Path | None = None
    """Weights to start from."""

    flip: bool = False
    """Whether to flip."""

    tables: dict[str, list[float]] = dataclasses.field(default_factory=lambda: {"rate": [1e-05, 0.1]})
    """Anything by name."""

    loss: Loss = dataclasses.field(default_factory=Loss)
    """What is minimised."""


@pytest.fixture(autouse=True)
def toy_job(monkeypatch, tmp_path):
    """A job `toy` in a package of its own, with one shipped configuration."""
    spec = importlib.util.spec_from_file_location("toy_job.toys", TOYS)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.RECIPES = {"toy": RecipeEntry(ToyConfig, lambda config: module.Regression(width=config.width), "a toy")}
    package = tmp_path / "packages" / "toy_job"
    (package / "recipes").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "recipes" / "toy-small.yaml").write_text(
        "job: toy\ntraining: {steps: 4, batch: 8}\nrecipe: {width: 5}\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setitem(sys.modules, "toy_job.toys", module)
    monkeypatch.setattr(train, "HOMES", ("toy_job.toys",))
    yield
    sys.modules.pop("toy_job", None)


def run(*words: object) -> int:
    return main(["train", *map(str, words)])


def failure(capsys, *words: object) -> str:
    assert run(*words) == 2
    return capsys.readouterr().err


def weights(folder: Path) -> bytes:
    return Checkpoints(folder / "checkpoints").path(4).read_bytes()


def test_a_shipped_configuration_trains_and_its_plan_trains_the_same_again(tmp_path, capsys):
    assert run("toy", "--config", "toy-small", "--training.device", "cpu", "-o", tmp_path / "one", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == 4
    assert [Path(path).name for path in told["files"]] == ["best.json", "final.json"]
    plan = json.loads((tmp_path / "one" / "plan.json").read_text())
    assert plan["verb"] == "train"
    assert plan["config"]["job"] == "toy"
    assert plan["config"]["recipe"]["width"] == 5
    assert plan["config"]["training"]["batch"] == 8
    assert run("toy", "--config", tmp_path / "one" / "plan.json", "-o", tmp_path / "two") == 0
    assert weights(tmp_path / "one") == weights(tmp_path / "two")


def test_what_is_warned_about_weights_is_told_once_and_in_words(tmp_path, capsys):
    module = sys.modules["toy_job.toys"]

    class Doubtful(module.Regression):
        def export(self, directory, stem):
            warnings.warn("the layout cannot tell the mean", WeightsWarning, stacklevel=2)
            return super().export(directory, stem)

    module.RECIPES = {"toy": RecipeEntry(ToyConfig, lambda config: Doubtful(), "a toy")}
    assert run("toy", "--config", "toy-small", "-o", tmp_path / "run", "--training.device", "cpu", "--json") == 0
    assert capsys.readouterr().err == "scanweave: warning: the layout cannot tell the mean\n"


def test_a_run_is_resumed_by_its_own_plan(tmp_path, capsys):
    assert run("toy", "--config", "toy-small", "-o", tmp_path / "long", "--training.device", "cpu") == 0
    assert run("toy", "--config", "toy-small", "-o", tmp_path / "run", "--training.steps", 2) == 0
    assert run("toy", "-o", tmp_path / "run", "--resume", "--training.steps", 4, "--training.log-every", 1) == 0
    assert json.loads((tmp_path / "run" / "plan.json").read_text())["config"]["training"]["steps"] == 4
    ours, theirs = (Checkpoints(tmp_path / name / "checkpoints").load(4)["networks"] for name in ("run", "long"))
    assert all((tensor == theirs["modules"]["net"][key]).all() for key, tensor in ours["modules"]["net"].items())
    assert "training.seed: 0 there, 3 now" in failure(
        capsys, "toy", "-o", tmp_path / "run", "--resume", "--training.seed", 3, "--recipe.width", 5
    )


def test_a_printed_configuration_says_all_fields_and_loads_again(tmp_path, capsys):
    words = ("--training.steps", 7, "--training.clip-norm", 0.00001, "--recipe.loss.square", 1e-07, "--recipe.flip")
    assert run("toy", *words, "--print-config") == 0
    printed = capsys.readouterr().out
    assert "  # Hidden units.\n  width: 8\n" in printed
    assert "    # Weight of the squared error.\n" in printed
    assert "  start: null\n" in printed
    (tmp_path / "printed.yaml").write_text(printed)
    assert run("toy", "--config", tmp_path / "printed.yaml", "--print-config") == 0
    assert capsys.readouterr().out == printed
    content = yaml.safe_load(printed)
    recipe = build(ToyConfig, content["recipe"], section="recipe")
    assert (recipe.loss, recipe.flip, recipe.tables) == (Loss(1e-07), True, {"rate": [1e-05, 0.1]})
    assert build(TrainingConfig, content["training"], section="training").clip_norm == 1e-05


def test_every_option_of_the_engine_is_documented():
    told = documentation(TrainingConfig)
    assert list(told) == [field.name for field in dataclasses.fields(TrainingConfig)]
    assert commented_yaml({"training": TrainingConfig()}).count("\n  # ") >= len(told)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("training: {stepz: 3}", "no field training.stepz: did you mean steps?"),
        ("recipe: {loss: {sqare: 3}}", "no field recipe.loss.sqare: did you mean square?"),
        ("trainig: {}", "no section 'trainig': did you mean training?"),
        ("job: other", "is of 'other', not of 'toy'"),
        ("training: {batch: many}", "training.batch: Input should be a valid integer"),
        ("training: {batch: 0}", "training.batch: Input should be greater than or equal to 1, got 0"),
        ("training: {steps: 3, epochs: 3}", "both given"),
        ("recipe: 5", "recipe is 5, no mapping"),
    ],
)
def test_a_wrong_file_is_refused_by_name(tmp_path, capsys, text, words):
    (tmp_path / "wrong.yaml").write_text(text)
    assert words in failure(capsys, "toy", "--config", tmp_path / "wrong.yaml", "-o", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--training.stepz", "3"], "no field training.stepz: did you mean training.steps?"),
        (["--recipe.loss.sqare=3"], "no field recipe.loss.sqare: did you mean recipe.loss.square?"),
        (["--training.batch", "0"], "batch Input should be greater than or equal to 1 (see"),
        (["--training.batch", "many"], "many"),
        (["--outptu", "there"], "Unrecognized options: --outptu"),
        (["--training.steps", "3"], "nothing says where to"),
        (["-o", "OUT"], "nothing says how long to train"),
        (["-o", "OUT", "--training.steps", "3", "--training.batch", "41"], "40 samples are fewer than one batch of 41"),
        (["-o", "OUT", "--training.steps", "3", "--training.device", "gpu7"], "'gpu7'"),
        (["-o", "OUT", "--training.steps", "3", "--training.device", "mps", "--training.precision", "float16"], "mps"),
    ],
)
def test_wrong_words_are_refused(tmp_path, capsys, options, words):
    output = tmp_path / "run"
    assert words in failure(capsys, "toy", *(str(output) if word == "OUT" else word for word in options))
    assert not output.exists()


def test_the_command_says_what_can_be_trained(capsys):
    assert run("--help") == 0
    said = capsys.readouterr().out
    assert "toy  a toy" in said
    assert "toy-small" in said
    assert "choose one of toy" in failure(capsys)
    assert "nothing to train is called 'tpy'" in failure(capsys, "tpy")
    assert run("toy", "--config", "toy-large") == 3
    assert "one of toy-small" in capsys.readouterr().err


def test_a_scheduler_that_ends_all_processes_interrupts(tmp_path):
    words = "--training.steps 100000 --training.batch 1 --training.workers 1 --training.checkpoint-every 2"
    words += " --training.device cpu --recipe.simulation.size 64 64"
    words += " --recipe.network.width 4 --recipe.network.heads 2 --recipe.network.depths 1 1 1 1"
    command = [sys.executable, "-m", "scanweave", "train", "most-dsa", "--config", "most-dsa-simulated", *words.split()]
    run = subprocess.Popen(
        [*command, "-o", tmp_path / "run"], start_new_session=True, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("run/checkpoints/*.safetensors")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGTERM)
    told = run.communicate(timeout=60)[1]
    assert run.returncode == 130, told
    assert "--resume goes on from" in told
    assert "Traceback" not in told
