"""Artifacts by content: what is stored is what was there, and what is handed out is what was stored."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
from pathlib import Path

import pytest

from gittrack.errors import ArtifactError, ArtifactMissingError, DamagedError
from gittrack.store import artifacts as module
from gittrack.store.artifacts import (
    INLINE_BYTES_MAX,
    Content,
    format_attributes,
    format_pointer,
    object_path,
    parse_pointer,
    place_object,
    read_object,
    stage_chunks,
    stage_file,
    write_out,
)
from tests.harness import Repo, mounted


def content_of(data: bytes, *, inline: bool = False) -> Content:
    return Content(hashlib.sha256(data).hexdigest(), len(data), inline)


# -- staging -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "inline"),
    [
        (b"", True),
        ("grüße\n".encode(), True),
        (b"x" * INLINE_BYTES_MAX, True),
        (b"x" * (INLINE_BYTES_MAX + 1), False),
        (b"a\0b", False),
        (b"\xff\xfe", False),
        (b"version https://git-lfs.github.com/spec/v1\n", False),
        (("é" * (INLINE_BYTES_MAX // 2)).encode(), True),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_only_small_text_that_is_no_pointer_stands_in_git_itself(
    tmp_path: Path, data: bytes, inline: bool
) -> None:
    chunks = [data[at : at + 7777] for at in range(0, len(data), 7777)]
    assert stage_chunks(chunks, str(tmp_path / "staged")) == content_of(data, inline=inline)
    assert (tmp_path / "staged" / hashlib.sha256(data).hexdigest()).read_bytes() == data
    assert len(os.listdir(tmp_path / "staged")) == 1


def test_a_source_that_fails_leaves_nothing_half_written(tmp_path: Path) -> None:
    def chunks() -> object:
        yield b"some"
        raise RuntimeError("the stream broke")

    with pytest.raises(RuntimeError):
        stage_chunks(chunks(), str(tmp_path / "staged"))  # type: ignore[arg-type]
    assert os.listdir(tmp_path / "staged") == []


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "-t", "tmpfs", "-o", "size=256k", "tmpfs") as small:
        with pytest.raises(OSError, match="No space"):
            stage_chunks([bytes(100_000)] * 10, str(small / "staged"))
        assert os.listdir(small / "staged") == []


def test_the_executable_bit_is_kept(tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_text("#!/bin/sh\n")
    assert stage_file(str(tool), str(tmp_path / "s"))[1] == 0o100644
    tool.chmod(0o755)
    assert stage_file(str(tool), str(tmp_path / "s"))[1] == 0o100755


def test_pipes_sockets_devices_and_folders_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    for path in (tmp_path / "pipe", tmp_path / "socket", Path("/dev/zero"), tmp_path, tmp_path / "nowhere"):
        with pytest.raises(ArtifactError, match=r"regular file|cannot read"):
            stage_file(str(path), str(tmp_path / "s"))
    server.close()


def test_a_file_that_changes_while_it_is_read_is_read_again_and_then_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "growing"
    path.write_bytes(b"begin")
    real, times = module.stage_chunks, [0]

    def stage(chunks: object, folder: str) -> Content:
        found = real(chunks, folder)  # type: ignore[arg-type]
        if times[0] > 0:
            times[0] -= 1
            with open(path, "ab") as file:
                file.write(b"more")
        return found

    monkeypatch.setattr(module, "stage_chunks", stage)
    times[0] = 2
    assert stage_file(str(path), str(tmp_path / "s"))[0] == content_of(b"beginmoremore", inline=True)
    times[0] = 99
    with pytest.raises(ArtifactError, match="changes"):
        stage_file(str(path), str(tmp_path / "s"))


# -- placing -------------------------------------------------------------------------------------------------


def test_an_object_of_the_wrong_size_is_replaced(repo: Repo, tmp_path: Path) -> None:
    data = os.urandom(1000)
    found = stage_chunks([data], str(tmp_path / "s"))
    target = Path(object_path(repo.repository, found.oid))
    target.parent.mkdir(parents=True)
    target.write_bytes(b"")  # what an interrupted copy leaves
    place_object(repo.repository, str(tmp_path / "s" / found.oid), found)
    assert target.read_bytes() == data
    place_object(repo.repository, str(tmp_path / "s" / found.oid), found)
    assert (tmp_path / "s" / found.oid).exists()


def test_an_object_that_stands_there_is_synced_all_the_same(
    repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git-lfs syncs nothing: a power cut would take what a durable commit names."""
    found = stage_chunks([b"\0data"], str(tmp_path / "s"))
    target = Path(object_path(repo.repository, found.oid))
    target.parent.mkdir(parents=True)
    target.write_bytes(b"\0data")
    synced: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    place_object(repo.repository, str(tmp_path / "s" / found.oid), found)
    assert synced == [str(target), str(target.parent)]


def test_an_object_from_another_file_system_is_copied(repo: Repo, tmp_path: Path) -> None:
    with mounted(tmp_path / "other", "-t", "tmpfs", "tmpfs") as other:
        found = stage_chunks([b"\0" * 5000], str(other))
        place_object(repo.repository, str(other / found.oid), found)
    target = Path(object_path(repo.repository, found.oid))
    assert target.read_bytes() == b"\0" * 5000
    assert os.listdir(target.parent) == [found.oid]


# -- handing out ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", [b"", b"x" * 999, b"x" * 1000, b"x" * 1001])
def test_an_object_that_is_not_what_its_name_says_is_never_handed_out(
    repo: Repo, tmp_path: Path, damage: bytes
) -> None:
    found = stage_chunks([b"y" * 1000], str(tmp_path / "s"))
    place_object(repo.repository, str(tmp_path / "s" / found.oid), found)
    Path(object_path(repo.repository, found.oid)).unlink()
    Path(object_path(repo.repository, found.oid)).write_bytes(damage)
    target = tmp_path / "out" / "file"
    with pytest.raises(DamagedError, match="damaged"):
        write_out(read_object(repo.repository, "file", found), str(target), 0o100644)
    assert os.listdir(tmp_path / "out") == []


def test_an_object_that_is_elsewhere_says_so(repo: Repo) -> None:
    with pytest.raises(ArtifactMissingError) as raised:
        list(read_object(repo.repository, "model/a.bin", content_of(b"gone")))
    assert (raised.value.path, raised.value.oid) == ("model/a.bin", hashlib.sha256(b"gone").hexdigest())
    assert isinstance(raised.value, LookupError)


def test_writing_out_replaces_whole_files_and_links_themselves(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    target = tmp_path / "target"
    target.symlink_to(precious)
    write_out([b"a", b"b"], str(target), 0o100755)
    assert (target.read_bytes(), target.stat().st_mode & 0o777, precious.read_text()) == (b"ab", 0o755, "mine")


# -- pointers ------------------------------------------------------------------------------------------------


def test_a_pointer_is_what_git_lfs_writes(tmp_path: Path) -> None:
    data = os.urandom(5000)
    (tmp_path / "file").write_bytes(data)
    theirs = subprocess.run(
        ["git", "lfs", "pointer", f"--file={tmp_path / 'file'}"], capture_output=True, check=True
    ).stdout
    assert format_pointer(content_of(data)) == theirs
    assert parse_pointer(theirs) == content_of(data)


OID = "a" * 64


@pytest.mark.parametrize(
    "text",
    [
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize -1\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 01\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 12",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 9999999999999999999\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID[:-2]}/.\nsize 1\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID.upper()}\nsize 1\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:0x{OID[2:]}\nsize 1\n",
        "version https://git-lfs.github.com/spec/v1\noid sha256:../../../etc/passwd\nsize 1\n",
        f"version https://hawser.github.com/spec/v1\noid sha256:{OID}\nsize 1\n",
        f"version https://git-lfs.github.com/spec/v1\next-0-x sha256:{OID}\noid sha256:{OID}\nsize 1\n",
        f"version https://git-lfs.github.com/spec/v1\r\noid sha256:{OID}\r\nsize 1\r\n",
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{OID}\nsize 1\n\n",
        "",
    ],
)
def test_all_else_is_no_pointer(text: str) -> None:
    assert parse_pointer(text.encode()) is None


@pytest.mark.parametrize(
    "path",
    [
        "plain.bin",
        "with space.bin",
        "st*r.bin",
        "br[ack]et.bin",
        "que?ry",
        "#hash",
        "!bang",
        'quo"te',
        "ümlaut.bin",
        "deep/er/file.bin",
        "tab\there",
        "back\\slash",
        "trailing$",
        "-dash",
        "@at{curly}",
    ],
)
def test_attributes_name_exactly_the_file_as_git_reads_them(repo: Repo, path: str) -> None:
    (repo.path / ".gitattributes").write_bytes(format_attributes([path, "another.bin"]))
    answer = repo.git("check-attr", "-z", "filter", "--", path, f"x/{path}", path + "x", "a" + path).split("\0")
    assert answer[2::3] == ["lfs", "unspecified", "unspecified", "unspecified"]


@pytest.mark.parametrize("how", ["link", "pipe", "folder", "endless"])
def test_an_object_that_is_no_plain_file_of_its_size_is_damaged(how: str, repo: Repo, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret")
    content = content_of(b"secret")
    place = Path(object_path(repo.repository, content.oid))
    place.parent.mkdir(parents=True)
    if how == "link":
        place.symlink_to(tmp_path / "secret")
    elif how == "pipe":
        os.mkfifo(place)
    elif how == "folder":
        place.mkdir()
    else:
        place.touch()
        os.truncate(place, 1 << 40)
    with pytest.raises(DamagedError, match="is damaged on this machine"):
        next(read_object(repo.repository, "a", content))
