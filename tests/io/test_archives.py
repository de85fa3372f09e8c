"""Archives from elsewhere: unpacked as they are, or refused by name."""

from __future__ import annotations

import stat
import struct
import zipfile
from pathlib import Path

import pytest

from scanweave.errors import InputError, UnsupportedError
from scanweave.io.archives import unzip


def archive(path: Path, entries: dict[str, bytes], *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as made:
        for name, content in entries.items():
            made.writestr(name, content)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def test_files_come_out_as_they_went_in(tmp_path: Path, folder: Path) -> None:
    entries = {"a/": b"", "a/b/1.png": bytes(range(256)) * 9, "a/b/2.png": b"", "c.txt": b"text"}
    done = []
    written = unzip(archive(tmp_path / "a.zip", entries), folder, progress=lambda *told: done.append(told))
    assert [path.relative_to(folder).as_posix() for path in written] == ["a/b/1.png", "a/b/2.png", "c.txt"]
    assert all((folder / name).read_bytes() == content for name, content in entries.items() if name[-1] != "/")
    assert done[-1] == (2308, 2308)


@pytest.mark.parametrize(
    "name", ["../out.txt", "a/../../b", "/etc/passwd", "C:/b.txt", "a\\..\\..\\b", "\\\\host\\b", "a\nb"]
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, folder: Path, name: str) -> None:
    with pytest.raises(InputError, match="leads elsewhere"):
        unzip(archive(tmp_path / "a.zip", {"fine.txt": b"", name: b"x"}), folder)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.zip", "out"]


@pytest.mark.parametrize("names", [("A.txt", "a.TXT"), ("a", "a/b")])
def test_two_files_of_one_name_are_refused(tmp_path: Path, folder: Path, names: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="two files of one name"):
        unzip(archive(tmp_path / "a.zip", dict.fromkeys(names, b"x")), folder)
    assert not list(folder.iterdir())


def test_links_are_refused(tmp_path: Path, folder: Path) -> None:
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr(link, "/etc")
    with pytest.raises(InputError, match="a link: 'link'"):
        unzip(tmp_path / "a.zip", folder)


def patched(path: Path, offset: int, form: str, value: int) -> Path:
    """Change what the table of contents says of the first entry."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, content.index(b"PK\1\2") + offset, value)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("offset", "value", "said"), [(8, 1, "encrypted"), (10, 97, "packed in a way")])
def test_what_cannot_be_read_is_named(tmp_path: Path, folder: Path, offset: int, value: int, said: str) -> None:
    path = patched(archive(tmp_path / "a.zip", {"a.txt": b"text"}), offset, "<H", value)
    with pytest.raises(UnsupportedError, match=said):
        unzip(path, folder)


def test_an_archive_that_unpacks_to_far_more_than_it_weighs_is_refused(tmp_path: Path, folder: Path) -> None:
    path = patched(archive(tmp_path / "a.zip", {"a.raw": bytes(9000), "b.raw": b""}), 24, "<I", 84_000_000)
    with pytest.raises(InputError, match="unpacks to 84 MB in 2 files"):
        unzip(path, folder)
    assert not list(folder.iterdir())


def test_an_entry_that_holds_less_than_it_says_is_damaged(tmp_path: Path, folder: Path) -> None:
    path = patched(archive(tmp_path / "a.zip", {"a.raw": bytes(9000)}), 24, "<I", 9001)
    with pytest.raises(InputError, match="damaged"):
        unzip(path, folder)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_damage_is_named(tmp_path: Path, folder: Path, method: int) -> None:
    path = archive(tmp_path / "a.zip", {"a.raw": bytes(range(256)) * 40}, method=method)
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged at 'a\.raw'"):
        unzip(path, folder)
    path.write_bytes(content[:100])
    with pytest.raises(InputError, match="no readable zip"):
        unzip(path, folder)
