"""How large an object is, before anything is unpacked: a small file can hold a bomb.

Of a loose object the stream itself is measured, since its header may lie; of a packed one the headers along its
chain of deltas are read. Formats: gitformat-pack(5), "object entries" and "Deltified representation".
"""

from __future__ import annotations

import os
import zlib
from typing import Any

_CHAIN_MAX = 5000  # git writes 50, and reads 4095
_OFS_DELTA, _REF_DELTA = 6, 7
_HEADER_BYTES_MAX = 64  # "commit <size>\0", or an entry's header with the name of its base
_DELTA_BYTES = 64  # enough of a delta for the two sizes that it begins with


def is_larger(store: Any, objects_dir: str, object_id: str, limit: int) -> bool:
    """Whether reading an object would unpack more than so many bytes; False where it is not there.

    Args:
        store: dulwich's object store of the folder: its packs and alternates are asked too.

    Raises:
        OSError, ValueError, zlib.error: it cannot be read.
    """
    if _is_loose_larger(os.path.join(objects_dir, object_id[:2], object_id[2:]), limit):
        return True
    digest = bytes.fromhex(object_id)
    for pack in store.packs:
        try:
            offset = pack.index.object_offset(digest)
        except Exception:  # it is not in there; or its index is damaged, and another pack may hold the object
            continue
        return _is_chain_larger(pack, offset, limit, len(digest))
    return any(is_larger(other, other.path, object_id, limit) for other in store.alternates)


def _is_loose_larger(path: str, limit: int) -> bool:
    try:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            packed = file.read(min(size, limit + limit // 1000 + 1024))  # zlib adds so much to what it cannot pack
    except FileNotFoundError:
        return False
    unpacked = zlib.decompressobj().decompress(packed, limit + _HEADER_BYTES_MAX + 1)
    return len(unpacked) > limit + unpacked[:_HEADER_BYTES_MAX].find(b"\0") + 1


def _is_chain_larger(pack: Any, offset: int, limit: int, width: int) -> bool:
    """Whether an entry, a delta on its way, or the base below is larger."""
    descriptor = os.open(pack.data.path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for _ in range(_CHAIN_MAX):
            head = os.pread(descriptor, _HEADER_BYTES_MAX, offset)
            kind, size, at = _parse_head(head)
            if size > limit:
                return True
            if kind == _OFS_DELTA:
                back, at = _parse_back(head, at)
                base = offset - back
            elif kind == _REF_DELTA:
                base, at = pack.index.object_offset(head[at : at + width]), at + width
            else:
                return False
            delta = zlib.decompressobj().decompress(os.pread(descriptor, 4096, offset + at), _DELTA_BYTES)
            if _result_size(delta) > limit:
                return True
            if not 0 < base < 1 << 63:
                raise ValueError("a delta's base lies outside of its pack")
            offset = base
    except (IndexError, KeyError) as error:
        raise ValueError("an entry of a pack cannot be read") from error
    finally:
        os.close(descriptor)
    raise ValueError("a chain of deltas has no end")


def _parse_head(head: bytes) -> tuple[int, int, int]:
    """An entry's kind and size, and where they end."""
    kind, size, shift, at = (head[0] >> 4) & 7, head[0] & 15, 4, 1
    while head[at - 1] & 128:
        size |= (head[at] & 127) << shift
        shift += 7
        at += 1
    return kind, size, at


def _parse_back(head: bytes, at: int) -> tuple[int, int]:
    """How far before a delta its base stands, and where that number ends."""
    back = head[at] & 127
    while head[at] & 128:
        at += 1
        back = ((back + 1) << 7) | (head[at] & 127)
    return back, at + 1


def _result_size(delta: bytes) -> int:
    at = 0
    while delta[at] & 128:  # the base's size
        at += 1
    size = shift = 0
    while True:
        at += 1
        size |= (delta[at] & 127) << shift
        shift += 7
        if not delta[at] & 128:
            return size
