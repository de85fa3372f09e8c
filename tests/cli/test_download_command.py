"""``scanweave prepare download``, from a server on the loopback."""

from __future__ import annotations

import functools
import hashlib
import http.server
import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from scanweave.cli import main

FRAMES = {f"{camera}/{i:03d}.png": bytes([i]) for camera in ("LR", "HR") for i in range(3)}


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder."""

    def log_message(self, *said: object) -> None:
        """Say nothing."""


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, bytes], str]]:
    """Put a file on a server; its address comes back."""
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()

        def put(name: str, content: bytes) -> str:
            (folder / name).write_bytes(content)
            return f"http://127.0.0.1:{server.server_port}/{name}"

        yield put
        server.shutdown()
        thread.join()


def zipped(names: dict[str, bytes]) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, one in names.items():
            archive.writestr(name, one)
    return content.getvalue()


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    ("prefix", "laid_out"),
    [("dataset1/", "dataset1_b0_0/"), ("", "rad_00001_b0_0/"), ("a/dataset1_b0_1/", "a/dataset1_b0_1/")],
)
def test_both_cameras_frames_are_laid_out_as_published(served, tmp_path, capsys, prefix, laid_out):
    content = zipped({f"{prefix}{name}": one for name, one in FRAMES.items()} | {"__MACOSX/LR/._000.png": b"x"})
    url, output = served("rad_00001.zip", content), tmp_path / "inference"
    (output / "another_b0_0").mkdir(parents=True)
    words = ["prepare", "download", url, "-o", str(output), "--sha256", hashlib.sha256(content).hexdigest()]
    assert main(words) == 0
    assert "6 files" in capsys.readouterr().out
    assert files_in(output) == {f"{laid_out}{name}" for name in FRAMES}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inference", "served"]
    # again: what is there stays, and nothing is fetched twice
    assert main(words) == 5
    assert "exists already" in capsys.readouterr().err
    (tmp_path / "served/rad_00001.zip").unlink()
    assert main([*words, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["resumed"], told["runs"]) == (len(content), [str(output / laid_out.rstrip("/"))])
    assert files_in(output) == {f"{laid_out}{name}" for name in FRAMES}
    assert not (tmp_path / "inference.partial").exists()


def test_into_the_folder_where_one_is(served, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert main(["prepare", "download", served("a.zip", zipped({"x.txt": b"1"})), "-o", "."]) == 0
    assert files_in(tmp_path / "here") == {"x.txt"}


def test_other_files_come_as_they_are(served, tmp_path, capsys):
    output = tmp_path / "out"
    assert main(["prepare", "download", served("a.zip", zipped({"x/HR/1.tif": b"1"})), "-o", str(output)]) == 0
    assert main(["prepare", "download", served("notes.txt", b"text"), "-o", str(output)]) == 0
    assert files_in(output) == {"x/HR/1.tif", "notes.txt"}
    assert main(["prepare", "download", served("notes.txt", b"text"), "-o", str(output)]) == 5
    assert main(["prepare", "download", served("notes.txt", b"other"), "-o", str(output), "--overwrite"]) == 0
    assert (output / "notes.txt").read_bytes() == b"other"


@pytest.mark.parametrize(
    ("name", "content", "words", "code", "said"),
    [
        ("a.zip", zipped({"../out.txt": b"x"}), [], 3, "leads elsewhere"),
        ("a.zip", zipped(FRAMES), ["--sha256", "0" * 64], 3, "SHA-256"),
        ("a.zip", zipped({f"{run}/{name}": b"" for run in ("a", "a_b0_0") for name in FRAMES}), [], 3, "two runs"),
        ("a.zip", zipped(FRAMES), ["--sha256", "12"], 2, "64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_leaves_nothing(served, tmp_path, capsys, name, content, words, code, said):
    output = tmp_path / "out"
    assert main(["prepare", "download", served(name, content), "-o", str(output), *words]) == code
    error = capsys.readouterr().err.strip()
    assert said in error and "\n" not in error
    assert not output.exists() and not files_in(tmp_path) - {"served/a.zip"}
    assert main(["prepare", "download", served("b", b"") + "none", "-o", str(output)]) == 3
    assert "404" in capsys.readouterr().err
