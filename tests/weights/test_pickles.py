"""Hostile and damaged files: refused by name, and nothing run."""

from __future__ import annotations

import builtins
import collections
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scanweave import weights
from scanweave.errors import WeightsError


class Payload:
    """Asks, when unpickled, for a call."""

    def __init__(self, function, *arguments) -> None:
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def write_zip(content, path: Path) -> None:
    torch.save(content, path)


def write_legacy(content, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_plain(protocol: int):
    def write(content, path: Path) -> None:
        path.write_bytes(pickle.dumps(content, protocol=protocol))

    return write


CONTAINERS = {"zip": write_zip, "legacy": write_legacy, **{f"pickle {n}": write_plain(n) for n in range(6)}}


@pytest.mark.parametrize("container", CONTAINERS)
def test_a_pickle_that_runs_a_command_is_refused_by_name(container, tmp_path):
    mark, path = tmp_path / "was here", tmp_path / "Inf1.pkl"
    content = {"module.unet.conv.bias": Payload(os.system, f"touch '{mark}'")}
    CONTAINERS[container](content, path)
    with pytest.raises(WeightsError, match=r"asks to run (posix|nt)\.system.*not run") as refusal:
        weights.load_published("most-dsa", path)
    assert refusal.value.exit_code == 6
    assert not mark.exists()
    pickle.loads(pickle.dumps(content))  # the same content, loaded by other means, would have run
    assert mark.exists()


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (eval, ("1",), "builtins.eval"),
        (exec, ("",), "builtins.exec"),
        (getattr, (1, "real"), "builtins.getattr"),
        (builtins.__import__, ("os",), "builtins.__import__"),
        (os.rmdir, ("nowhere",), "posix.rmdir"),
        (collections.Counter, (), "collections.Counter"),
        (torch.hub.load, ("a", "b"), "torch.hub.load"),
    ],
)
@pytest.mark.parametrize("container", ["zip", "legacy"])
def test_whatever_is_no_tensor_is_named(function, arguments, name, container, tmp_path):
    CONTAINERS[container]({"state_dictFC": {}, "state_dictAT": Payload(function, *arguments)}, tmp_path / "a.ckpt")
    with pytest.raises(WeightsError, match=f"asks to run {name}"):
        weights.load_published("super-slomo", tmp_path / "a.ckpt")


def text(word: str) -> bytes:
    return b"\x8c" + bytes([len(word)]) + word.encode()


HIDDEN = {
    "texts put under numbers": text("posix") + b"q\x07" + text("system") + b"r\x08\0\0\0" + b"00h\x07j\x08\0\0\0",
    "texts put and memoized": text("posix") + b"q\x00" + text("system") + b"\x9400h\x00h\x01",
    "a text memoized anew": text("torch") + b"\x940" + text("posix") + b"q\x000h\x00" + text("system"),
    "the last text twice": text("system") + b"q\x000" + text("posix") + b"20h\x00",
    "texts of the first protocol": b"Vposix\np3\n0Vsystem\np4\n0g3\ng4\n",
    "an innocent name over it": text("posix") + text("system") + text("torch") + text("Size") + b"00",
    "an innocent name behind a mark": text("posix") + text("system") + b"(" + text("torch") + text("Size") + b"1",
    "a tuple over it": text("posix") + text("system") + b"(" + text("torch") + text("Size") + b"t0",
}


@pytest.mark.parametrize("way", HIDDEN)
def test_a_name_is_found_however_it_is_hidden(way, tmp_path):
    mark, path = tmp_path / "was here", tmp_path / "Inf1.pkl"
    data = b"\x80\x04" + HIDDEN[way] + b"\x93" + text(f"touch '{mark}'") + b"\x85R."
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"asks to run posix\.system,"):
        weights.load_published("most-dsa", path)
    assert not mark.exists()
    pickle.loads(data)  # what is refused is a pickle that runs
    assert mark.exists()


@pytest.mark.parametrize("made", [b"NN", b"h\x05h\x05", b"", b"t" + text("torch"), b"(((" + text("torch")])
def test_a_name_of_what_is_no_text_counts_as_hidden(made, tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04" + made + b"\x93.")
    with pytest.raises(WeightsError, match="asks to run a name that it hides,"):
        weights.load_published("most-dsa", tmp_path / "a.pkl")


def test_a_hostile_pickle_behind_sound_tensors_is_refused(dsa_state, tmp_path):
    for container in ("zip", "legacy"):
        CONTAINERS[container](dsa_state | {"module.x": Payload(eval, "1")}, tmp_path / "a.pkl")
        with pytest.raises(WeightsError, match=r"builtins\.eval"):
            weights.load_published("most-dsa", tmp_path / "a.pkl")


def test_whole_modules_and_arrays_are_refused(most_dsa, tmp_path):
    torch.save(most_dsa, tmp_path / "module.pth")
    with pytest.raises(WeightsError, match="asks to run"):
        weights.load_published("most-dsa", tmp_path / "module.pth")
    torch.save({"module.unet.conv.bias": np.zeros(3)}, tmp_path / "array.pth")
    with pytest.raises(WeightsError, match=r"numpy\..*_reconstruct"):
        weights.load_published("most-dsa", tmp_path / "array.pth")


def test_dates_and_tensors_are_all_that_is_allowed(goldens):
    """The authors' containers, in both formats, hold nothing else."""
    for name in ("container_legacy.ckpt", "container_zip.ckpt"):
        content = weights.read_content(goldens / "slowmo_echo" / name)
        assert content.items["timestamp"].year in (2018, 2023)
        assert content.kind == name.split("_")[1].split(".")[0]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "is empty"),
        (b"\x80\x02", "no file of torch.save|cut short"),
        (b"\x80\x02}q\x00.", "cut short|no file|not tensors|damaged"),
        (b"garbage" * 99, "is no weights file"),
        (b"case,frame\nA,1\n.", "is no weights file"),
        (b"PK\x03\x04" + bytes(99), "damaged"),
        (b"\x10\x00\x00\x00\x00\x00\x00\x00{" + bytes(40), "safetensors"),
        (bytes(128) + b"DICM", "is no weights file"),
        (b"\x89PNG\r\n\x1a\n", "is no weights file"),
    ],
)
def test_what_is_no_file_of_weights_is_said_to_be_none(data, reason, tmp_path):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=reason):
        weights.load_published("most-dsa", path)


def test_a_zip_file_of_something_else(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("letter.txt", "dear")
    with pytest.raises(WeightsError, match="zip file without weights"):
        weights.load_published("most-dsa", tmp_path / "a.zip")


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(WeightsError, match="No such file"):
        weights.load_published("most-dsa", tmp_path / "Inf1.pkl")
    with pytest.raises(WeightsError, match="directory"):
        weights.load_published("most-dsa", tmp_path)


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(share=st.floats(0, 0.999))
def test_a_file_cut_anywhere_is_refused(container, share, most_dsa, tmp_path):
    whole = tmp_path / f"whole.{container}"
    if not whole.exists():
        if container == "safetensors":
            weights.save(most_dsa, whole)
        else:
            CONTAINERS[container](dict(most_dsa.state_dict()), whole)
    data = whole.read_bytes()
    cut = tmp_path / "cut"
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(WeightsError):
        weights.load_published("most-dsa", cut)


@pytest.mark.parametrize("container", ["zip", "legacy", "safetensors"])
@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(place=st.integers(0, 4000), byte=st.integers(0, 255))
def test_a_changed_byte_is_refused_or_harmless(container, place, byte, most_dsa, tmp_path):
    whole = tmp_path / f"whole.{container}"
    if not whole.exists():
        if container == "safetensors":
            weights.save(most_dsa, whole)
        else:
            CONTAINERS[container](dict(most_dsa.state_dict()), whole)
    data = bytearray(whole.read_bytes())
    data[place] = byte
    (tmp_path / "changed").write_bytes(data)
    try:
        network = weights.load_published("most-dsa", tmp_path / "changed")
    except WeightsError:
        return
    assert len(network.state_dict()) == len(most_dsa.state_dict())
