"""Artifacts by content: staged while a run lives, then in Git LFS's own store; streamed, never whole in memory.

The pointer is exactly Git LFS's version 1 text (its specification is ``docs/spec.md`` of git-lfs), so that
git-lfs and the forges move and show what gittrack wrote.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from gittrack.errors import ArtifactError, ArtifactMissingError, DamagedError
from gittrack.git.packs import fsync_folder
from gittrack.git.repository import Repository
from gittrack.schema.names import INLINE_BYTES_MAX
from gittrack.store.planted import open_plain
from gittrack.store.syncing import sync_file, write_anew

# a pointer's three lines: the head, the oid, a size of 1 to 18 digits
POINTER_BYTES_MIN, POINTER_BYTES_MAX = 43 + 76 + 7, 43 + 76 + 24

_CHUNK = 1 << 20
_POINTER_HEAD = b"version https://git-lfs.github.com/spec/v1\n"
_POINTER = re.compile(_POINTER_HEAD + rb"oid sha256:([0-9a-f]{64})\nsize (0|[1-9][0-9]{0,17})\n")
_GLOB = re.compile(r"[\\*?\[\]!#\"]")


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds: sha256 as 64 hex digits, size in bytes, and whether it is text fit for git itself."""

    oid: str
    size_bytes: int
    inline: bool


Bring: TypeAlias = Callable[[Repository, Collection[Content]], Mapping[str, str]]
"""What fetches objects that are not here, and returns why some did not come, by oid."""


def stage_file(path: str, staging_dir: str) -> tuple[Content, int]:
    """Copy a file's content into a staging folder under its hash; returns what it holds and git's mode.

    Raises:
        ArtifactError: it is no regular file, cannot be read, or keeps changing while it is read.
        OSError: the staging folder cannot be written.
    """
    for _ in range(3):
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise ArtifactError(f"cannot read {path!r}: {error.strerror}") from error
        try:
            before = os.fstat(descriptor)
            if not stat.S_ISREG(before.st_mode):
                raise ArtifactError(f"{path!r} is no regular file", "pipes, sockets and devices are not stored")
            content = stage_chunks(_read_chunks(descriptor, path), staging_dir)
            after = os.fstat(descriptor)
        finally:
            os.close(descriptor)
        if _same_state(before, after) and content.size_bytes == after.st_size:
            return content, 0o100755 if before.st_mode & stat.S_IXUSR else 0o100644
    raise ArtifactError(f"{path!r} changes while it is read", "log it when its writer has closed it")


def stage_chunks(chunks: Iterable[bytes], staging_dir: str) -> Content:
    """Write chunks into the staging folder under their hash; returns what they hold.

    Raises:
        OSError: it cannot be written; nothing half-written stays.
    """
    os.makedirs(staging_dir, exist_ok=True)
    temporary = os.path.join(staging_dir, f"tmp-{os.urandom(8).hex()}")
    digest, head, size = hashlib.sha256(), bytearray(), 0
    try:
        with open(temporary, "xb", buffering=0) as file:
            for chunk in chunks:
                digest.update(chunk)
                if len(head) <= INLINE_BYTES_MAX:
                    head += chunk[: INLINE_BYTES_MAX + 1 - len(head)]
                size += len(chunk)
                view = memoryview(chunk)
                while view:
                    view = view[file.write(view) :]
        oid = digest.hexdigest()
        os.replace(temporary, os.path.join(staging_dir, oid))
    except BaseException:
        _unlink_if_there(temporary)
        raise
    return Content(oid, size, _is_inline(bytes(head)))


def place_object(repository: Repository, staged: str, content: Content, *, is_copy: bool = False) -> None:
    """Bring a staged file into the LFS store, durably; the staged name stays until the caller drops it.

    An object that is there already counts only with the right size: an interrupted copy of another program
    may have left an empty one.

    Args:
        is_copy: it was fetched from elsewhere, and may be removed again to save room. What was logged here may
            not, though the same content has been fetched before.
    """
    target = object_path(repository, content.oid)
    if not is_copy:
        _unlink_if_there(brought_path(repository, content.oid))
    _make_folders(os.path.dirname(target), repository.common_dir)
    if not _is_there(target, content.size_bytes):
        _bring(staged, target)
    try:
        sync_file(target)  # also one that stood there: git-lfs syncs nothing, and its other bringer may be at it
    except OSError:
        write_anew(target)
        raise


def object_path(repository: Repository, oid: str) -> str:
    """Where Git LFS keeps an object of this repository."""
    return os.path.join(repository.lfs_objects_dir, oid[:2], oid[2:4], oid)


def has_object(repository: Repository, content: Content) -> bool:
    """Whether an object stands in its place with its size; the bytes are checked as they are read."""
    try:
        return os.stat(object_path(repository, content.oid)).st_size == content.size_bytes
    except OSError:
        return False


def brought_path(repository: Repository, oid: str) -> str:
    """Where it is noted that an object is a copy of what is elsewhere."""
    return os.path.join(repository.state_dir, "brought", oid)


def format_pointer(content: Content) -> bytes:
    """The pointer that stands in git for an object."""
    return _POINTER_HEAD + f"oid sha256:{content.oid}\nsize {content.size_bytes}\n".encode()


def parse_pointer(data: bytes) -> Content | None:
    """The object that a pointer names, or None when the bytes are no pointer of exactly that form."""
    match = _POINTER.fullmatch(data) if len(data) <= POINTER_BYTES_MAX else None
    return Content(match[1].decode(), int(match[2]), False) if match else None


def format_attributes(paths: Iterable[str]) -> bytes:
    """A ``.gitattributes`` that gives exactly these paths to the LFS filter; gitattributes(5) quotes them."""
    return "".join(f"{_pattern(path)} filter=lfs diff=lfs merge=lfs -text\n" for path in sorted(paths)).encode()


def read_object(
    repository: Repository, path: str, content: Content, bring: Bring | None = None
) -> Iterator[bytes]:
    """The chunks of an object; after the last one its hash has been checked.

    Args:
        bring: asked to fetch it where it is not here.

    Raises:
        ArtifactMissingError: it is not on this machine. DamagedError: it is not what its name says.
    """
    digest, size = hashlib.sha256(), 0
    absent = bring is not None and not has_object(repository, content)
    tried = bring(repository, [content]).get(content.oid, "") if bring is not None and absent else ""
    try:
        with open_plain(object_path(repository, content.oid)) as file:
            if os.fstat(file.fileno()).st_size != content.size_bytes:
                raise _damaged_object(repository, path, content)  # it may be a terabyte of nothing
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                yield chunk
    except FileNotFoundError as error:
        raise ArtifactMissingError(path, content.oid, tried) from error
    except OSError as error:  # a link, a pipe, a folder; or it cannot be read
        raise _damaged_object(repository, path, content) from error
    if size != content.size_bytes or digest.hexdigest() != content.oid:
        raise _damaged_object(repository, path, content)


def _damaged_object(repository: Repository, path: str, content: Content) -> DamagedError:
    return DamagedError(
        f"artifact {path}",
        f"its object {content.oid[:12]}… is damaged on this machine",
        f"remove {object_path(repository, content.oid)}: it is fetched again when it is opened",
    )


def write_out(chunks: Iterable[bytes], target: str, mode: int) -> None:
    """Write a checked file to its place: under another name first, so that a bad one never appears there."""
    os.makedirs(os.path.dirname(target) or ".", exist_ok=True)
    temporary = f"{target}.{os.urandom(4).hex()}.part"
    try:
        with open(temporary, "xb") as file:
            file.writelines(chunks)
        os.chmod(temporary, 0o755 if mode == 0o100755 else 0o644)
        os.replace(temporary, target)
    except BaseException:
        _unlink_if_there(temporary)
        raise


def _read_chunks(descriptor: int, path: str) -> Iterator[bytes]:
    while True:
        try:
            chunk = os.read(descriptor, _CHUNK)
        except OSError as error:  # not to be taken for one of the disk that is written to
            raise ArtifactError(f"cannot read {path!r}: {error.strerror}") from error
        if not chunk:
            return
        yield chunk


def _is_inline(head: bytes) -> bool:
    """Whether the bytes may stand in git as they are: UTF-8 text of up to 1 MiB that is no pointer itself."""
    if len(head) > INLINE_BYTES_MAX or b"\0" in head or head.startswith(b"version https://git-lfs"):
        return False
    try:
        head.decode()
    except UnicodeDecodeError:
        return False
    return True


def _same_state(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_size, before.st_mtime_ns, before.st_ino) == (
        after.st_size,
        after.st_mtime_ns,
        after.st_ino,
    )


def _is_there(target: str, size_bytes: int) -> bool:
    """Whether an object stands in its place; one of another size is removed."""
    try:
        if os.stat(target).st_size == size_bytes:
            return True
        os.unlink(target)
    except FileNotFoundError:
        pass
    return False


def _bring(staged: str, target: str) -> None:
    descriptor = os.open(staged, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fchmod(descriptor, 0o644)
        os.fsync(descriptor)
    except OSError:
        write_anew(staged)
        raise
    finally:
        os.close(descriptor)
    try:
        os.link(staged, target)
    except FileExistsError:
        return
    except OSError:  # another file system, or one without hard links
        _copy_durably(staged, target)


def _make_folders(folder: str, top: str) -> None:
    """Make a folder below ``top`` so that it is durable itself."""
    if os.path.isdir(folder):
        return
    if folder != top:
        _make_folders(os.path.dirname(folder), top)
    os.makedirs(folder, exist_ok=True)
    fsync_folder(os.path.dirname(folder))


def _copy_durably(source: str, target: str) -> None:
    temporary = f"{target}.{os.urandom(4).hex()}"
    try:
        with open(source, "rb") as reader, open(temporary, "xb") as writer:
            while chunk := reader.read(_CHUNK):
                writer.write(chunk)
            writer.flush()
            os.fsync(writer.fileno())
        os.replace(temporary, target)
    except BaseException:
        _unlink_if_there(temporary)
        raise


def _pattern(path: str) -> str:
    escaped = _GLOB.sub(lambda match: "\\" + match[0], "/" + path)
    if not re.search(r'[\s"]', escaped):
        return escaped
    return '"' + escaped.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
