"""The order of samples: a function of seed and step alone, whatever divides it."""

from __future__ import annotations

import os
import signal
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from scanweave.errors import InputError, ResourceError, UsageError
from scanweave.training.loading import load
from scanweave.training.order import Order


class Indexed:
    """Samples that say which they are, and what was drawn."""

    def __init__(self, count):
        self.count = count

    def __len__(self):
        return self.count

    def draw(self, index, *, generator):
        return {"index": index, "number": int(generator.integers(1 << 30))}

    def make(self, drawn):
        if drawn["index"] == 13:
            raise InputError("is damaged", path="thirteen.dcm", remedy="remove it")
        return {"x": torch.zeros(3 if drawn["index"] == 14 else 2)}


@given(
    st.integers(0, 2**32),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(1, 3),
    st.integers(0, 20),
    st.integers(0, 9),
)
def test_processes_and_parts_take_the_same_batch_between_them(seed, size, processes, parts, extra, step):
    batch = size * processes * parts
    samples = Indexed(batch + extra)
    whole = Order(samples, seed, batch).provenance(step)
    shared = Order(samples, seed, batch, processes, parts).provenance(step)

    def content(places):
        return [(place["position"], place["index"], place["drawn"]["number"]) for place in places]

    assert content(shared) == content(whole)
    order = Order(samples, seed, batch, processes, parts)
    drawn = [d for rank in range(processes) for part in order.parts_of(rank, start=step, stop=step + 1) for d in part]
    assert Counter(d["number"] for d in drawn) == Counter(place["drawn"]["number"] for place in whole)


def test_an_epoch_takes_each_sample_once_and_the_next_in_another_order():
    order = Order(Indexed(12), 3, 4)
    epochs = [[order.place(position).index for position in range(12 * k, 12 * k + 12)] for k in range(3)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]
    draws = [order.place(position).drawn["number"] for position in range(36)]
    assert len(set(draws)) == 36, "and draws anew"


def test_too_few_samples_are_refused():
    with pytest.raises(InputError, match="no samples"):
        Order(Indexed(0), 0, 1)
    with pytest.raises(UsageError, match="3 samples are fewer than one batch of 4"):
        Order(Indexed(3), 0, 4)
    with pytest.raises(UsageError, match="than the 4 processes"):
        Order(Indexed(3), 0, 4, processes=4)
    with pytest.raises(UsageError, match="cannot be divided between 3 processes"):
        Order(Indexed(9), 0, 4, processes=3)


@pytest.mark.parametrize("workers", [0, 1])
def test_an_error_of_a_sample_keeps_its_class_across_processes(workers):
    parts = [[{"index": 1}, {"index": 2}], [{"index": 13}, {"index": 2}]]
    batches = load(Indexed(20), parts, device=torch.device("cpu"), workers=workers)
    assert next(batches)["x"].shape == (2, 2)
    with pytest.raises(InputError) as stop:
        next(batches)
    assert str(stop.value) == "thirteen.dcm: is damaged (remove it)"


def test_mixed_shapes_are_refused_by_name():
    with pytest.raises(InputError, match=r"differ in 'x': \(2,\) float32 in the first, \(3,\) float32 in number 1"):
        next(load(Indexed(20), [[{"index": 1}, {"index": 14}]], device=torch.device("cpu")))


class Fatal(Indexed):
    """Whoever makes number 5 is killed, as by a system without memory."""

    def make(self, drawn):
        if drawn["index"] == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().make(drawn)


def test_a_killed_worker_is_a_lack_of_resources():
    parts = [[{"index": k}] for k in range(20)]
    with pytest.raises(ResourceError, match=r"a process that makes samples ended.*fewer training\.workers"):
        list(load(Fatal(20), parts, device=torch.device("cpu"), workers=1))


class Grouped(Indexed):
    """Tells the group of processes that makes it."""

    def make(self, drawn):
        return {"x": torch.tensor(os.getpgrp())}


def test_signals_to_the_group_of_a_training_do_not_reach_its_workers():
    (batch,) = load(Grouped(20), [[{"index": 1}]], device=torch.device("cpu"), workers=1)
    assert int(batch["x"]) not in (0, os.getpgrp())


def test_workers_give_the_same_batches_in_the_same_order(toys, fit):
    here, ahead = toys.Regression(), toys.Regression()
    fit(here, name="here", steps=12)
    fit(ahead, name="ahead", steps=12, workers=2)
    assert here.seen == ahead.seen
    for ours, theirs in zip(here.net.parameters(), ahead.net.parameters(), strict=True):
        assert np.array_equal(ours.detach().numpy(), theirs.detach().numpy())
