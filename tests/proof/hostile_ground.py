"""What hostile repositories are made of: raw objects, trees with any names, runs with any files, planted folders.

Each case gets a copy of a repository with two honest runs, and around it what must not be touched: a home, a
folder for temporary files, and `outside` with a secret in it and a program that tells when it was run.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import struct
import subprocess
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

EVIL = "e" * 31 + "0"
SECRET = "the-secret-outside-0f6d2"
LFS = "version https://git-lfs.github.com/spec/v1\n"
WHO = b"Eve <eve@example.org> 1767225600 +0000"
ENVIRONMENT = {"GIT_CONFIG_NOSYSTEM": "1", "TERM": "xterm", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}

_making = threading.Lock()  # cases are built side by side, and share what is large

Entry = tuple[bytes, bytes, str]  # mode as it is written, name, id
File = bytes | str | tuple[bytes, str]  # content, or mode and id


@dataclass(slots=True)
class Expect:
    """What a case is to lead to, where it is not the usual: both honest runs are listed, nothing is slow."""

    honest: Sequence[int] = (0, 1)  # which must be listed; the other may be missing, never otherwise than it was
    changed: Sequence[
        int
    ] = ()  # which a planted journal may change: whoever can write there can do as much by git
    is_unreadable: bool = False  # git itself reads nothing of it: every command may end with one line
    damaged: bool | None = None  # whether `verify` must (not) find something
    refused: str = ""  # every command refuses the repository with a line that has this in it
    evil: str | None = None  # the words by which the evil run is asked for
    shown: bool | None = None  # whether the evil run must (not) be shown
    fsck_free: str = ""  # why git's own fsck is over the limits, and is not held to them


@dataclass
class Ground:
    """One case's own place, and the means to build in it."""

    root: Path
    shared: Path = field(default_factory=Path)

    @property
    def repo(self) -> Path:
        return self.root / "repo"

    @property
    def git_dir(self) -> Path:
        return self.root / "repo/.git"

    @property
    def outside(self) -> Path:
        return self.root / "outside"

    @property
    def target(self) -> Path:
        return self.root / "target"

    @property
    def program(self) -> str:
        """A program that leaves a trace when it runs."""
        return str(self.outside / "program")

    @property
    def environment(self) -> dict[str, str]:
        home = str(self.root / "home")
        return {**ENVIRONMENT, "HOME": home, "XDG_CONFIG_HOME": home, "TMPDIR": str(self.root / "tmp")}

    def git(self, *words: str, stdin: bytes = b"") -> str:
        done = subprocess.run(
            ["git", *words], cwd=self.repo, env=self.environment, input=stdin, capture_output=True, check=False
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout.decode(errors="replace").strip()

    # -- objects -----------------------------------------------------------------------------------------

    def add(self, kind: str, data: bytes) -> str:
        """A loose object of any bytes; its id."""
        whole = f"{kind} {len(data)}\0".encode() + data
        return self.place(hashlib.sha1(whole).hexdigest(), zlib.compress(whole, 1))

    def place(self, object_id: str, compressed: bytes) -> str:
        """A loose object's file, whatever it holds."""
        path = self.git_dir / "objects" / object_id[:2] / object_id[2:]
        path.parent.mkdir(exist_ok=True)
        if not path.exists():
            path.write_bytes(compressed)
        return object_id

    def tree(self, entries: Sequence[Entry], *, as_given: bool = False) -> str:
        """A tree of raw entries, sorted as git does unless told otherwise."""
        ordered = entries if as_given else sorted(entries, key=_order)
        data = b"".join(mode + b" " + name + b"\0" + bytes.fromhex(found) for mode, name, found in ordered)
        return self.add("tree", data)

    def files(self, files: Mapping[str, File]) -> list[Entry]:
        """Entries of a tree, those of folders made, by paths."""
        below: dict[str, dict[str, File]] = {}
        entries: list[Entry] = []
        for path, content in files.items():
            first, slash, rest = path.partition("/")
            if slash:
                below.setdefault(first, {})[rest] = content
                continue
            if isinstance(content, tuple):
                mode, found = content
            else:
                data = content.encode() if isinstance(content, str) else content
                mode, found = b"100644", self.add("blob", data)
            entries.append((mode, os.fsencode(first), found))
        for name, inner in below.items():
            entries.append((b"40000", os.fsencode(name), self.tree(self.files(inner))))
        return entries

    def commit(
        self,
        tree: str,
        message: bytes | str,
        *,
        parents: Sequence[str] = (),
        author: bytes = WHO,
        committer: bytes = WHO,
        extra: bytes = b"",
    ) -> str:
        text = message.encode() if isinstance(message, str) else message
        lines = [b"tree " + tree.encode(), *(b"parent " + parent.encode() for parent in parents)]
        return self.add(
            "commit", b"\n".join([*lines, b"author " + author, b"committer " + committer, extra + b"\n"]) + text
        )

    def ref(self, name: str, content: str) -> None:
        path = os.path.join(os.fsencode(self.git_dir), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content.encode() + b"\n")

    # -- runs --------------------------------------------------------------------------------------------

    def run(
        self,
        files: Mapping[str, File | None] | None = None,
        *,
        run_id: str = EVIL,
        revision: object = 1,
        message: bytes | str = b"",
        entries: Sequence[Entry] = (),
        ref: str = "refs/remotes/origin/gittrack/evil",
        tree: str = "",
        **commit: object,
    ) -> str:
        """A run as a stranger pushes it: some files of it replaced, or left out where they are None."""
        whole: dict[str, File | None] = {**self.record(run_id=run_id, revision=revision), **(files or {})}
        kept = {path: content for path, content in whole.items() if content is not None}
        tree = tree or self.tree([*self.files(kept), *entries])
        made = self.commit(tree, message or trailers(run_id, revision), **commit)  # type: ignore[arg-type]
        self.ref(ref, made)
        return made

    def record(self, *, run_id: str = EVIL, revision: object = 1, **fields: object) -> dict[str, File]:
        """The files of a plain run; fields of ``run.yaml`` by their names."""
        known = {
            "id": run_id,
            "name": "evil",
            "experiment": "evil",
            "experiment_id": hashlib.sha256(b"evil").hexdigest()[:16],
            "status": "FINISHED",
            "lifecycle": "active",
            "revision": revision,
            "started_at": "2026-01-01T00:00:00.000Z",
            "ended_at": "2026-01-01T00:00:01.000Z",
        }
        lines = [f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in (known | fields).items()]
        summary = "".join(f"  {name}: 0.5\n" for name in ("first", "last", "min", "max"))
        return {
            ".gittrack-schema": (b"100644", self.schema),
            "run.yaml": "".join(lines),
            "params.yaml": "lr: 0.1\n",
            "metrics.yaml": f"loss:\n{summary}  last_step: 0\n  count: 1\n",
            "metrics/loss.csv": "step,timestamp,value\n0,1767225600000,0.5\n",
        }

    @cached_property
    def schema(self) -> str:
        return self.git("rev-parse", "refs/heads/gittrack/honest:.gittrack-schema")

    # -- places ------------------------------------------------------------------------------------------

    def config(self, text: str) -> None:
        with open(self.git_dir / "config", "a", encoding="utf-8") as file:
            file.write(text)

    def live(self, run_id: str = "f" * 32) -> Path:
        folder = self.git_dir / "gittrack/live" / run_id
        folder.mkdir(parents=True)
        return folder

    def lfs_object(self, oid: str) -> Path:
        path = self.git_dir / "lfs/objects" / oid[:2] / oid[2:4] / oid
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def zeros(self, megabytes: int, *, is_placed: bool = True) -> str:
        """The id of a blob of nothing but zeros; as a loose object a thousandth of its size. Made once for all."""
        chunks = (bytes(1 << 20) for _ in range(megabytes))
        return self._kept(f"zeros-{megabytes}", "blob", megabytes << 20, chunks, is_placed)

    def repeated(self, name: str, kind: str, piece: bytes, count: int, head: bytes = b"") -> str:
        """A loose object of a head, and one piece again and again, a thousand times a part of them."""
        chunks = (piece * (count // 1000) for _ in range(1000))
        size = len(head) + len(piece) * (count // 1000) * 1000
        return self._kept(name, kind, size, (chunk for part in ([head], chunks) for chunk in part), True)

    def _kept(self, name: str, kind: str, size: int, chunks: Iterator[bytes], is_placed: bool) -> str:
        kept = self.shared / name
        with _making:
            if not (kept / "id").exists():
                kept.mkdir()
                _write_loose(kept, kind, size, chunks)
        object_id = (kept / "id").read_text()
        return self.place(object_id, (kept / "object").read_bytes()) if is_placed else object_id

    def pack(self, body: bytes, count: int) -> None:
        """A pack of entries as they are; git makes its index, and checks it."""
        data = struct.pack(">4sLL", b"PACK", 2, count) + body
        self.git("index-pack", "--stdin", stdin=data + hashlib.sha1(data).digest())


def trailers(run_id: str = EVIL, revision: object = 1, more: str = "", subject: str = "evil") -> str:
    """A run's message as gittrack writes it."""
    return (
        f"{subject}\n\n[skip ci]\n\nGittrack-Run: {run_id}\nGittrack-Revision: {revision}\n"
        f"Gittrack-Status: FINISHED\n{more}Gittrack-Schema: 1\n"
    )


def pointer(oid: str, size: object) -> str:
    return f"{LFS}oid sha256:{oid}\nsize {size}\n"


def pack_entry(kind: int, data: bytes, before: bytes = b"", size: int | None = None) -> bytes:
    """An entry of a pack: gitformat-pack(5); ``before`` is what a delta names its base by."""
    left = len(data) if size is None else size
    first, left = (kind << 4) | (left & 15), left >> 4
    head = bytearray()
    while left:
        head.append(first | 128)
        first, left = left & 127, left >> 7
    return bytes([*head, first]) + before + zlib.compress(data, 1)


def variable_size(size: int) -> bytes:
    """A size as a delta begins with it."""
    out = bytearray()
    while size > 127:
        out.append(size & 127 | 128)
        size >>= 7
    return bytes([*out, size])


def make_ground(template: Path, root: Path, shared: Path) -> Ground:
    """A copy of the honest repository, and what lies around it."""
    shutil.copytree(template, root, symlinks=True)
    ground = Ground(root, shared=shared)
    for folder in ("home", "tmp", "outside", "target"):
        (root / folder).mkdir(exist_ok=True)
    (ground.outside / "secret").write_text(SECRET)
    program = ground.outside / "program"
    program.write_text(f"#!/bin/sh\ntouch {ground.outside}/ran\ncat\n")
    program.chmod(0o755)
    return ground


def _order(entry: Entry) -> bytes:
    return entry[1] + b"/" if entry[0].lstrip(b"0") == b"40000" else entry[1]


def _write_loose(folder: Path, kind: str, size: int, chunks: Iterator[bytes]) -> None:
    digest, packer = hashlib.sha1(), zlib.compressobj(1)
    head = f"{kind} {size}\0".encode()
    digest.update(head)
    with open(folder / "object", "wb") as file:
        file.write(packer.compress(head))
        for chunk in chunks:
            digest.update(chunk)
            file.write(packer.compress(chunk))
        file.write(packer.flush())
    (folder / "id").write_text(digest.hexdigest())
