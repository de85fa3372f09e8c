"""What a training tells: lines of JSON, TensorBoard, progress; and what it needs installed."""

from __future__ import annotations

import json
import sys

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from scanweave.errors import UnsupportedError, UsageError
from scanweave.training import TrainingConfig, train
from scanweave.training.journal import Journal, Means


def board_of(folder):
    board = EventAccumulator(str(folder / "tensorboard"))
    board.Reload()
    return board


def test_the_log_and_tensorboard_say_loss_rate_scores_speed_and_pictures(toys, fit, events_of, tmp_path):
    fit(toys.Regression(), steps=6, log_every=2, validate_every=3, picture_every=3)
    events = events_of(tmp_path / "run")
    assert [(event["event"], event["step"]) for event in events] == [
        *(("start", 0), ("train", 2), ("validation", 3), ("train", 4), ("train", 6), ("validation", 6))
    ]
    assert events[1]["rate/net"] == 1e-2 / (1 + 1 / 50)
    assert events[1].keys() >= {"epoch", "loss/net", "norm/net", "absolute", "skipped"}
    board = board_of(tmp_path / "run")
    tags = board.Tags()
    assert {"train/loss/net", "train/rate/net", "train/waiting", "validation/error"} <= set(tags["scalars"])
    assert [scalar.step for scalar in board.Scalars("train/loss/net")] == [2, 4, 6]
    assert tags["images"] == ["picture/x"]
    assert [picture.step for picture in board.Images("picture/x")] == [3, 6]


def test_what_was_said_about_steps_that_are_taken_again_is_taken_back(tmp_path):
    first = Journal(tmp_path)
    for step in (1, 2, 3):
        first.tell("train", step, {"loss": float(step)})
    first.close()
    with (tmp_path / "log.jsonl").open("a") as stream:
        stream.write('{"event": "train", "st')
    second = Journal(tmp_path, step=2)
    second.tell("train", 3, {"loss": 30.0, "score": float("inf")})
    second.close()
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["step"], line["loss"]) for line in lines] == [(1, 1.0), (2, 2.0), (3, 30.0)]
    assert lines[-1]["score"] == "inf"
    assert [(s.step, s.value) for s in board_of(tmp_path).Scalars("train/loss")] == [(1, 1.0), (2, 2.0), (3, 30.0)]


def test_means_go_on_from_what_was_counted():
    one, other = Means(), Means()
    one.add({"a": 1.0, "b": 5.0})
    other.load_state_dict(one.state_dict())
    other.add({"a": 3.0})
    assert other.take() == {"a": 2.0, "b": 5.0}
    assert other.take() == {}


def test_progress_is_told(toys, tmp_path):
    told = []
    config = TrainingConfig(steps=3, batch=4, device="cpu")
    train(toys.Gan(), config, tmp_path / "run", progress=lambda *what: told.append(what))
    assert told[0][0] == "training"
    assert told[-1] == ("training", 3, 3)


@pytest.mark.parametrize("package", ["lightning_fabric", "torch.utils.tensorboard"])
def test_a_missing_package_is_named_with_what_brings_it(toys, fit, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UnsupportedError, match=rf"{package}.*scanweave\[train\]"):
        fit(toys.Gan())


def test_a_score_that_is_monitored_but_not_given_is_refused(toys, fit):
    class Unscored(toys.Regression):
        monitor = "psnr"

    with pytest.raises(UsageError, match=r"monitors 'psnr', and its scores are \['error', 'index'\]"):
        fit(Unscored())


def test_scores_that_are_not_one_per_sample_are_refused(toys, fit):
    class Summed(toys.Regression):
        def validate(self, batch):
            return {"error": super().validate(batch)["error"].sum()}

    with pytest.raises(UsageError, match="one of each"):
        fit(Summed())
