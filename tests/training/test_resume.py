"""A training that was stopped ends as one that was not; what cannot go on is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from scanweave.errors import InputError, Interrupted, OutputError, ResourceError, UsageError
from scanweave.plan import Plan
from scanweave.training.checkpoints import Checkpoints

HERE = Path(__file__).parent


def start(script: str, *words: object, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / script), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, **options)


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())


@pytest.mark.parametrize(("name", "seed"), [("dropout", 0), ("gan", 1)])
def test_a_killed_run_ends_with_the_same_weights(tmp_path, state_of, events_of, name, seed):
    done = start("killed.py", name, tmp_path, 8, seed)
    assert done.returncode == 0, done.stderr
    assert_same(state_of(tmp_path / "killed"), state_of(tmp_path / "whole"))
    whole, killed = (events_of(tmp_path / run) for run in ("whole", "killed"))
    assert [event for event in killed if event["event"] not in ("start", "resume")] == whole[1:]
    assert not list((tmp_path / "killed" / "checkpoints").glob(".*"))


def test_a_run_killed_while_saving_goes_on_from_the_checkpoint_before(toys, fit, state_of, tmp_path):
    fit(toys.Regression(), name="whole", steps=6)
    fit(toys.Regression(), steps=4, checkpoint_every=1, keep_last=9)
    folder = tmp_path / "run" / "checkpoints"
    newest = folder / "step_0000004.safetensors"
    newest.write_bytes(newest.read_bytes()[:-100])
    part = folder / ".step_0000005.safetensors.abc.part"
    part.mkdir()
    (part / "step_0000005.safetensors").write_bytes(b"half")
    fit(toys.Regression(), steps=6, resume=True)
    assert_same(state_of(tmp_path / "run"), state_of(tmp_path / "whole"))
    assert not part.exists()


def test_a_run_asked_to_stop_saves_first_and_goes_on(toys, fit, state_of, tmp_path):
    class Stopped(toys.Regression):
        def updates(self, batch, step):
            if step == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            yield from super().updates(batch, step)

    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Interrupted, match="after step 4"):
        fit(Stopped(), steps=6)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == handlers
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [4]
    fit(toys.Regression(), steps=6, resume=True)
    fit(toys.Regression(), name="whole", steps=6)
    assert_same(state_of(tmp_path / "run"), state_of(tmp_path / "whole"))


@pytest.mark.parametrize("told", [True, False])
def test_a_worker_that_ends_just_before_the_training_is_told_to_is_no_lack_of_memory(toys, fit, told):
    class Told(toys.Numbers):
        def make(self, drawn):
            if drawn["index"] == 5 and os.getppid() == training:
                if told:  # soon, by another process: this one is gone by then
                    subprocess.Popen(["sh", "-c", f"sleep 0.2; kill -TERM {training}"])
                os.kill(os.getpid(), signal.SIGKILL)
            return super().make(drawn)

    training = os.getpid()
    said = "stopped together with the processes" if told else "a process that makes samples ended|DataLoader worker"
    with pytest.raises(Interrupted if told else (ResourceError, RuntimeError), match=said):
        fit(toys.Regression(Told()), steps=30, workers=1)


def test_a_full_disk_ends_with_an_output_error_and_earlier_checkpoints(tmp_path, toys):
    script = (
        "import resource, sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import toys\n"
        "from scanweave.training import TrainingConfig, train\n"
        "from scanweave.errors import OutputError\n"
        "class Filling(toys.Regression):\n"
        "    def updates(self, batch, step):\n"
        "        if step == 3: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))\n"
        "        yield from super().updates(batch, step)\n"
        "config = TrainingConfig(steps=9, checkpoint_every=2, device='cpu')\n"
        "try: train(Filling(width=2000), config, Path(sys.argv[2]))\n"
        "except OutputError as error: print(error); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(HERE), str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.returncode == 5, done.stderr
    assert "step_0000004.safetensors: cannot be written" in done.stdout
    assert "free some space" in done.stdout
    folder = tmp_path / "run" / "checkpoints"
    assert [file.name for file in folder.iterdir()] == ["step_0000002.safetensors"]
    assert Checkpoints(folder).newest()[0] == 2


def test_a_log_that_fills_the_disk_says_so_once(tmp_path):
    script = (
        "import resource, sys; from pathlib import Path; import torch\n"
        "from scanweave.errors import OutputError; from scanweave.training.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))\n"
        "try:\n"
        "    journal.show(0, {'noise': torch.rand(3, 64, 64, generator=torch.Generator())})\n"
        "    journal.close()\n"
        "except OutputError as error: print(error); sys.exit(error.exit_code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (5, "")
    assert done.stdout.startswith(f"{tmp_path}: the log cannot be written: File too large (free some space")


def test_another_configuration_is_refused_by_the_names_that_differ(toys, fit, tmp_path):
    fit(toys.Regression(), settings={"crop": 8, "loss": {"style": 1.0}})
    with pytest.raises(UsageError, match=r"training.batch: 4 there, 8 now; training.seed.*recipe.loss.style") as stop:
        fit(toys.Regression(), settings={"crop": 8, "loss": {"style": 2.0}}, resume=True, batch=8, seed=1, steps=9)
    assert "crop" not in str(stop.value)
    with pytest.raises(UsageError, match=r"method.samples: 40 there, 41 now"):
        fit(toys.Regression(toys.Numbers(41)), settings={"crop": 8, "loss": {"style": 1.0}}, resume=True)
    plan = (tmp_path / "run" / "plan.json").read_bytes()
    with pytest.raises(UsageError, match="has taken 3 steps"):
        fit(toys.Regression(), settings={"crop": 8, "loss": {"style": 1.0}}, resume=True, steps=2)
    assert (tmp_path / "run" / "plan.json").read_bytes() == plan


def test_another_network_or_other_fixed_weights_are_refused(toys, fit):
    fit(toys.Regression())
    with pytest.raises(UsageError, match="of another network"):
        fit(toys.Regression(width=9), resume=True)
    other = toys.Regression()
    other.fixed.weight.zero_()
    with pytest.raises(UsageError, match="other weights of the fixed fixed"):
        fit(other, resume=True)


def test_what_leaves_the_steps_as_they_are_may_differ(toys, fit, state_of, tmp_path):
    fit(toys.Regression(), steps=3)
    fit(toys.Regression(), steps=6, resume=True, workers=1, log_every=1, keep_last=5, accumulate=1)
    fit(toys.Regression(), name="whole", steps=6)
    assert_same(state_of(tmp_path / "run"), state_of(tmp_path / "whole"))


def test_a_training_is_not_written_over_unasked(toys, fit, tmp_path):
    fit(toys.Regression())
    with pytest.raises(OutputError, match="--resume to go on with it, or --overwrite"):
        fit(toys.Regression())
    fit(toys.Regression(), overwrite=True, seed=5, steps=2)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [2]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(OutputError, match="holds no training"):
        fit(toys.Regression(), name="mine", overwrite=True)


def test_a_training_that_came_to_no_checkpoint_begins_again_unasked(toys, fit, tmp_path):
    class Damaged(toys.Numbers):
        def make(self, drawn):
            raise InputError("is damaged", path="frame.png")

    with pytest.raises(InputError, match=r"frame\.png: is damaged"):
        fit(toys.Regression(Damaged()))
    folder = tmp_path / "run"
    (folder / ".plan.json.abc.part").mkdir()
    assert fit(toys.Regression(), batch=8).steps == 3
    assert not list(folder.glob("*.part"))
    assert json.loads((folder / "plan.json").read_text())["config"]["training"]["batch"] == 8


@pytest.mark.parametrize("lost", ["removed", "damaged"])
def test_finished_weights_whose_checkpoints_are_gone_stay(toys, fit, tmp_path, lost):
    fit(toys.Regression())
    for path in (tmp_path / "run" / "checkpoints").iterdir():
        path.unlink() if lost == "removed" else path.write_bytes(b"")
    kind, message = (OutputError, "no checkpoints to go on from") if lost == "removed" else (InputError, "are damaged")
    with pytest.raises(kind, match=message):
        fit(toys.Regression(), resume=True)
    with pytest.raises(OutputError, match="--overwrite to start again"):
        fit(toys.Regression())
    assert (tmp_path / "run" / "weights" / "final.json").is_file()
    assert fit(toys.Regression(), overwrite=True).steps == 3


def test_a_folder_with_another_plan_is_no_training(toys, fit, tmp_path):
    (tmp_path / "run").mkdir()
    plan = Plan(verb="interpolate", inputs=(), config={}, method={})
    (tmp_path / "run" / "plan.json").write_text(plan.model_dump_json())
    with pytest.raises(OutputError, match="holds no training"):
        fit(toys.Regression(), overwrite=True)


def test_two_trainings_do_not_write_into_one_folder(toys, fit, tmp_path):
    fit(toys.Regression())
    script = (
        "import sys; from pathlib import Path; from scanweave.training.lock import FolderLock\n"
        "FolderLock(Path(sys.argv[1])).take(); print('taken', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "taken\n"
        for choice in ({"resume": True}, {"overwrite": True}):
            with pytest.raises(OutputError, match="another training writes here now"):
                fit(toys.Regression(), **choice)
        other.kill()
    assert fit(toys.Regression(), resume=True, steps=4).steps == 4


def test_a_best_checkpoint_that_was_superseded_and_removed_is_forgotten(toys, fit, tmp_path):
    fit(toys.Regression(), steps=4, validate_every=2, checkpoint_every=1, keep_last=3)
    folder = Checkpoints(tmp_path / "run" / "checkpoints")
    state = folder.load(4)
    folder.save(4, {**state, "best": [(0.0, 1)]})
    assert fit(toys.Regression(), steps=5, resume=True, validate_every=100).best[1] == 5


def test_a_finished_run_resumed_takes_no_step(toys, fit):
    fit(toys.Regression())
    recipe = toys.Regression()
    outcome = fit(recipe, resume=True)
    assert (outcome.steps, recipe.seen) == (3, [])
    assert [path.name for path in outcome.files] == ["best.json", "final.json"]


def test_the_newest_and_the_best_checkpoints_stay(toys, fit, tmp_path):
    class Scored(toys.Regression):
        def validate(self, batch):
            scores = {2: 5.0, 4: 1.0, 6: 3.0, 8: 4.0, 10: float("nan")}
            return {"error": torch.full((1,), scores[len(self.seen)])}

    outcome = fit(Scored(), steps=10, checkpoint_every=1, validate_every=2, picture_every=99)
    assert outcome.best == (1.0, 4)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [4, 9, 10]


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "step_0000001.safetensors").write_bytes(b"something else")
    with pytest.raises(InputError, match="no sound checkpoint"):
        Checkpoints(tmp_path).load(1)
    assert Checkpoints(tmp_path).newest() is None


def test_a_checkpoint_gives_back_exactly_what_it_was_given(tmp_path):
    weight = torch.arange(6.0).reshape(2, 3)
    state = {
        "a": {0: weight, 1: weight[0], "t": weight.T},
        "b": (1, 2.5, None, [True, "x", ()]),
        "c": torch.tensor(3, dtype=torch.int64),
        "d": torch.zeros(0),
        "pi": 0.1 + 0.2,
    }
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(7, state)
    loaded = checkpoints.load(7)
    assert loaded["b"] == state["b"]
    assert loaded["pi"] == state["pi"]
    assert all(torch.equal(loaded["a"][key], tensor) for key, tensor in state["a"].items())
    assert (loaded["c"].dtype, loaded["d"].shape) == (torch.int64, (0,))
