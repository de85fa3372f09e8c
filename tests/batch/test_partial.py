"""What an interrupted run leaves is taken up only by the same run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from scanweave.batch.partial import PartialSlices, PartialStore, until_whole
from scanweave.errors import Interrupted, OutputError
from scanweave.interpolation.interpolated import MadeFrame
from scanweave.made import Made
from scanweave.plan import Plan


def plan(factor: int = 4) -> Plan:
    return Plan(verb="interpolate", inputs=(), config={"factor": factor}, method={"name": "linear"})


FRAME = MadeFrame(np.arange(12, dtype=np.uint16).reshape(3, 4), 1.5, np.ones((3, 4), np.float32))


def test_frames_come_back_as_they_were(tmp_path):
    store = PartialStore(tmp_path / "out.dcm", plan())
    assert store.load(7) is None
    store.save(7, FRAME)
    again = PartialStore(tmp_path / "out.dcm", plan(), resume=True)
    assert again.found == 1
    kept = again.load(7)
    assert kept is not None
    assert np.array_equal(kept.pixels, FRAME.pixels)
    assert kept.pixels.dtype == np.uint16
    assert kept.expected_error == 1.5
    assert np.array_equal(kept.interval, FRAME.interval)


def test_a_frame_without_expectations_comes_back_without(tmp_path):
    store = PartialStore(tmp_path / "out.dcm", plan())
    store.save(0, MadeFrame(FRAME.pixels))
    kept = store.load(0)
    assert kept is not None
    assert kept.expected_error is None
    assert kept.interval is None


def test_leftovers_are_neither_used_nor_thrown_away_unasked(tmp_path):
    PartialStore(tmp_path / "out.dcm", plan()).save(0, FRAME)
    with pytest.raises(OutputError, match="--resume"):
        PartialStore(tmp_path / "out.dcm", plan())
    assert PartialStore(tmp_path / "out.dcm", plan(), resume=True).found == 1


def test_leftovers_of_another_plan_are_refused(tmp_path):
    PartialStore(tmp_path / "out.dcm", plan(4)).save(0, FRAME)
    with pytest.raises(OutputError, match="other options"):
        PartialStore(tmp_path / "out.dcm", plan(8), resume=True)
    store = PartialStore(tmp_path / "out.dcm", plan(8), overwrite=True)
    assert store.found == 0
    assert store.load(0) is None


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn", b"not a zip"])
def test_a_torn_frame_is_made_again(tmp_path, content):
    store = PartialStore(tmp_path / "out.dcm", plan())
    store.save(3, FRAME)
    (store.folder / "000003.npz").write_bytes(content)
    assert store.load(3) is None


def test_discard_spares_what_an_earlier_run_left(tmp_path):
    first = PartialStore(tmp_path / "out.dcm", plan())
    first.save(0, FRAME)
    second = PartialStore(tmp_path / "out.dcm", plan(), resume=True)
    second.discard(only_ours=True)
    assert second.folder.exists()
    second.discard()
    assert not second.folder.exists()


def test_slices_come_back_as_they_were(tmp_path):
    frames, spread = torch.rand(3, 1, 4, 5), torch.rand(3, 1, 4, 5)
    store = PartialSlices(tmp_path / "out.nii.gz", plan())
    store.save(0, Made(frames))
    store.save(8, Made(frames, spread))
    again = PartialSlices(tmp_path / "out.nii.gz", plan(), resume=True)
    first, second = again.load(0), again.load(8)
    assert again.found == 2 and first is not None and second is not None and again.load(16) is None
    assert first.uncertainty is None and torch.equal(first.frames, frames)
    assert torch.equal(second.frames, frames) and torch.equal(second.uncertainty, spread)


def test_what_was_made_stays_only_after_an_interruption(tmp_path):
    output = tmp_path / "new" / "out.nii.gz"
    for stop, raised in ((ValueError, ValueError), (KeyboardInterrupt, Interrupted), (None, None)):
        store = PartialSlices(output, plan())
        if raised is None:
            with until_whole(store):
                store.save(0, Made(torch.zeros(1, 1, 2, 2)))
        else:
            with pytest.raises(raised), until_whole(store):
                if stop is ValueError:
                    store.save(0, Made(torch.zeros(1, 1, 2, 2)))
                raise stop
        assert not output.parent.exists(), "nothing was made, or it is whole, or it failed"
    store = PartialSlices(output, plan())
    with pytest.raises(Interrupted, match="--resume"), until_whole(store):
        store.save(0, Made(torch.zeros(1, 1, 2, 2)))
        raise KeyboardInterrupt
    assert PartialSlices(output, plan(), resume=True).found == 1
