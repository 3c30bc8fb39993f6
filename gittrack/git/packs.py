"""One durable pack a write: nothing half-written is ever visible, and no gc can take it away.

Order: temp files outside ``objects/pack`` (``git prune`` deletes ``tmp_*`` there), both fsynced;
``.keep`` first, then pack, then index, renamed into place and their folder fsynced. The caller moves the ref
and drops the ``.keep``. Formats: gitformat-pack(5), pack version 2 and index version 2.
"""

from __future__ import annotations

import bisect
import functools
import mmap
import os
import struct
import zlib
from types import TracebackType

from gittrack.git.objects import ID_BYTES, ObjectFormat, ObjectId, ObjectSet, new_hash
from gittrack.git.repository import Repository

_LEVEL = 1  # a run's files are small: level 6 costs twice the time for 3 % of the bytes
_REPEATED_BYTES_MAX = 16 << 10
_LARGE_OFFSET = 1 << 31
_INDEX_MAGIC = b"\xfftOc\x00\x00\x00\x02"
_KEEP_PREFIX = "gittrack-"  # what a .keep of ours starts with


class KeptPack:
    """A pack in place, held by its ``.keep`` until this context ends."""

    def __init__(self, keep_path: str) -> None:
        self._keep_path = keep_path

    def __enter__(self) -> KeptPack:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            os.unlink(self._keep_path)
        except OSError:
            pass  # a leftover .keep costs a little space; `sweep_leftovers` drops it later


def write_pack(repository: Repository, objects: ObjectSet) -> KeptPack:
    """Write the objects as one pack; durable on return.

    Raises:
        OSError: the disk is full or failing; then nothing visible was left.
    """
    pack, entries = _encode_pack(objects)
    width = ID_BYTES[objects.object_format]
    index = _encode_index(entries, pack[-width:], objects.object_format)
    # the same objects written twice must not share a name: one writer's .keep would cover both
    name = os.urandom(width).hex()
    temporary = os.path.join(repository.state_dir, "tmp", name)
    target = os.path.join(repository.objects_dir, "pack", f"pack-{name}")
    os.makedirs(os.path.dirname(temporary), exist_ok=True)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    placed: list[str] = []
    try:
        for suffix, content in ((".pack", pack), (".idx", index)):
            placed.append(temporary + suffix)
            _write_durably(temporary + suffix, content)
        placed.append(temporary + ".keep")
        _make_keep(temporary + ".keep", os.path.join(repository.state_dir, "keep"))
        for suffix in (".keep", ".pack", ".idx"):
            os.rename(temporary + suffix, target + suffix)
            placed.append(target + suffix)
        fsync_folder(os.path.dirname(target))
    except BaseException:
        for path in reversed(placed):
            _unlink_if_there(path)
        raise
    return KeptPack(target + ".keep")


def sweep_leftovers(repository: Repository) -> int:
    """Drop the ``.keep`` and temp files of writers that died; returns how many.

    The caller holds the write lock: every writer packs under it, so that what lies there is nobody's.
    """
    dropped = 0
    folder = os.path.join(repository.objects_dir, "pack")
    for entry in _scan(folder):
        if entry.name.endswith(".keep") and _is_ours(entry.path):
            _unlink_if_there(entry.path)
            dropped += 1
    for entry in _scan(os.path.join(repository.state_dir, "tmp")):
        _unlink_if_there(entry.path)
        dropped += 1
    return dropped


def has_leftovers(repository: Repository) -> bool:
    """Whether there is something for `sweep_leftovers` to drop."""
    packs = _scan(os.path.join(repository.objects_dir, "pack"))
    is_kept = any(entry.name.endswith(".keep") and _is_ours(entry.path) for entry in packs)
    return is_kept or bool(_scan(os.path.join(repository.state_dir, "tmp")))


def is_packed(repository: Repository, object_id: ObjectId) -> bool:
    """Whether a pack holds an object; False too where its index cannot be read.

    The largest is asked first, since a project's own history lies there. dulwich reads 256 numbers of each index
    instead of two: 0.15 ms a pack instead of 0.02.
    """
    digest = bytes.fromhex(object_id)
    indexes = [
        entry for entry in _scan(os.path.join(repository.objects_dir, "pack")) if entry.name.endswith(".idx")
    ]
    for path in sorted((entry.path for entry in indexes), key=_size_bytes, reverse=True):
        if _index_holds(path, digest) and os.path.exists(path[:-4] + ".pack"):
            return True
    return False


def fsync_folder(path: str) -> None:
    """Make the names in a folder durable (a rename is not, until its folder is synced)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _encode_pack(objects: ObjectSet) -> tuple[bytes, list[tuple[ObjectId, int, int]]]:
    """The pack's bytes, and each object's id, CRC-32 and offset."""
    parts = [struct.pack(">4sLL", b"PACK", 2, len(objects))]
    entries: list[tuple[ObjectId, int, int]] = []
    offset = 12
    for object_id, kind, data in objects:
        entry = _entry_header(kind, len(data)) + _compress(data)
        entries.append((object_id, zlib.crc32(entry), offset))
        parts.append(entry)
        offset += len(entry)
    body = b"".join(parts)
    return body + new_hash(objects.object_format, body).digest(), entries


def _compress(data: bytes) -> bytes:
    return _compress_again(data) if len(data) <= _REPEATED_BYTES_MAX else zlib.compress(data, _LEVEL)


@functools.lru_cache(maxsize=64)
def _compress_again(data: bytes) -> bytes:
    """Half of a small run's compressing is for what each run holds: format statement, packages."""
    return zlib.compress(data, _LEVEL)


def _entry_header(kind: int, size: int) -> bytes:
    """Type and size, seven bits a byte, least first: gitformat-pack(5), "object entries"."""
    first = (kind << 4) | (size & 0x0F)
    size >>= 4
    header = bytearray()
    while size:
        header.append(first | 0x80)
        first = size & 0x7F
        size >>= 7
    header.append(first)
    return bytes(header)


def _encode_index(
    entries: list[tuple[ObjectId, int, int]], pack_digest: bytes, object_format: ObjectFormat
) -> bytes:
    ordered = sorted(entries)
    counts = [0] * 256
    for object_id, _, _ in ordered:
        counts[int(object_id[:2], 16)] += 1
    total, fanout = 0, []
    for count in counts:
        total += count
        fanout.append(total)
    large = [offset for _, _, offset in ordered if offset >= _LARGE_OFFSET]
    small = [offset if offset < _LARGE_OFFSET else _LARGE_OFFSET | large.index(offset) for _, _, offset in ordered]
    body = b"".join(
        (
            _INDEX_MAGIC,
            struct.pack(">256L", *fanout),
            *(bytes.fromhex(object_id) for object_id, _, _ in ordered),
            struct.pack(f">{len(ordered)}L", *(crc for _, crc, _ in ordered)),
            struct.pack(f">{len(small)}L", *small),
            struct.pack(f">{len(large)}Q", *large),
            pack_digest,
        )
    )
    return body + new_hash(object_format, body).digest()


def _index_holds(path: str, digest: bytes) -> bool:
    """Whether an index of version 2 lists an id: gitformat-pack(5), "Version 2 pack-*.idx files"."""
    try:
        with open(path, "rb", buffering=0) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as index:
            if index[:8] != _INDEX_MAGIC:
                return False
            below = 8 + 4 * (digest[0] - 1)
            first = int.from_bytes(index[below : below + 4]) if digest[0] else 0
            last = int.from_bytes(index[below + 4 : below + 8])
            width = len(digest)

            def id_at(number: int) -> bytes:
                return index[1032 + width * number : 1032 + width * (number + 1)]

            at = bisect.bisect_left(range(last), digest, first, key=id_at)
            return at < last and id_at(at) == digest
    except (OSError, ValueError):
        return False


def _size_bytes(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _write_durably(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
    try:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_keep(path: str, pattern: str) -> None:
    """Make a ``.keep`` whose bytes are durable, or a power cut leaves an empty one that nobody knows as ours.

    Only the first is written and synced: the others are links to it.
    """
    try:
        os.link(pattern, path)
        return
    except OSError:  # there is none yet, or the file system has no hard links
        _write_durably(path, f"{_KEEP_PREFIX}\n".encode())
    try:
        os.link(path, pattern)
    except OSError:
        pass


def _is_ours(keep_path: str) -> bool:
    try:
        with open(keep_path, "rb") as file:
            return file.read(64).startswith(_KEEP_PREFIX.encode())
    except OSError:
        return False


def _scan(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _unlink_if_there(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass
