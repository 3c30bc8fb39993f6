"""Runs the real commands on a hostile repository, and says what was not as promised.

A loss begins with what kind it is: ``crash``, ``hang``, ``slow``, ``memory``, ``control bytes``, ``code ran``,
``written outside``, ``secret``, ``honest runs``, ``answer``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.proof.forking import Order, Outcome, Server
from tests.proof.hostile_ground import EVIL, SECRET, Expect, Ground

LIMIT_S, LIMIT_MB = 2.0, 256.0
_ERROR_CODES = (0, 1, 2)
_TURNING = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]")  # bidi, zero width


@dataclass(slots=True)
class Verdict:
    """What the commands on one repository did."""

    losses: list[str] = field(default_factory=list)
    commands: int = 0
    seconds: float = 0.0
    megabytes: float = 0.0


def judge(
    server: Server, ground: Ground, name: str, expect: Expect, honest: Sequence[Mapping[str, Any]]
) -> Verdict:
    """Run every reading command on the repository, and judge each and all of them."""
    verdict = Verdict()
    before = digest(ground)
    evil = expect.evil or EVIL
    for words in _commands(evil, [str(run["id"]) for run in honest], ground):
        done = run_one(server, ground, words)
        verdict.commands += 1
        is_fsck = words[0] == "verify" and bool(expect.fsck_free)
        if not is_fsck:
            verdict.seconds, verdict.megabytes = (
                max(verdict.seconds, done.cpu_seconds),
                max(verdict.megabytes, done.megabytes),
            )
        found = [
            *judge_outcome(done, as_json="--json" in words, is_timed=not is_fsck),
            *_judge_answer(words, done, expect, honest, evil),
        ]
        verdict.losses += [f"{name}: {' '.join(words)}: {line}" for line in found]
        if done.code is None:
            break  # the others would wait as long
    verdict.losses += [f"{name}: {line}" for line in judge_surroundings(ground, before)]
    return verdict


def run_one(server: Server, ground: Ground, words: Sequence[str], program: str = "gittrack") -> Outcome:
    out = ground.root.with_name(ground.root.name + ".said")
    return server.run(Order(words, str(ground.repo), ground.environment, str(out), program))


def judge_outcome(done: Outcome, *, as_json: bool, is_timed: bool = True) -> Iterator[str]:
    """What no command may do, whatever it was asked."""
    shown = done.stdout.decode(errors="replace")
    said = done.stderr.decode(errors="replace")
    if done.code is None:
        yield f"hang: not done after {done.seconds:.0f} s"
    elif done.code not in _ERROR_CODES or "Traceback" in said or "has a defect" in said:
        yield f"crash: exit code {done.code}: {said[-300:]!r}"
    elif done.code and len(errors := re.findall(r"^error: .*$", said, re.MULTILINE)) > 1:
        yield f"crash: {len(errors)} lines of errors"
    if is_timed and done.code is not None and done.cpu_seconds > LIMIT_S:
        yield f"slow: {done.cpu_seconds:.1f} s"
    if is_timed and done.megabytes > LIMIT_MB:
        yield f"memory: {done.megabytes:.0f} MB"
    for text, where in ((shown, "stdout"), (said, "stderr")):
        odd = find_odd(text)
        if odd and not (as_json and where == "stdout" and odd == "\ufffd"):
            yield f"control bytes: {odd!r} on {where}"
    if SECRET in shown or SECRET in said:
        yield "secret: it was printed"


def find_odd(text: str) -> str:
    """The first character that could do something to a terminal, or turn text around; '' where there is none."""
    if text.isascii() and text.translate({10: None, 9: None}).isprintable():
        return ""
    for char in text:
        if char not in "\n\t" and (unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") or _TURNING.match(char)):
            return char
    return ""


def digest(ground: Ground) -> dict[str, tuple[int, int, int, str]]:
    """Everything that lies around the repository: mode, size, change time, content."""
    found = {}
    for folder in ("home", "tmp", "outside", "target"):
        for place, folders, names in os.walk(ground.root / folder):
            for name in (*folders, *names):
                path = os.path.join(place, name)
                status = os.lstat(path)
                content = (
                    Path(path).read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20 else b""
                )
                found[path] = (
                    status.st_mode,
                    status.st_size,
                    status.st_mtime_ns,
                    hashlib.sha1(content).hexdigest(),
                )
    return found


def judge_surroundings(ground: Ground, before: Mapping[str, object]) -> Iterator[str]:
    """Whether a program ran, something was written around the repository, or the secret came in."""
    after = digest(ground)
    if any(path.endswith("/ran") for path in after):
        yield "code ran: a program of the repository's choice was run"
    target = str(ground.target)
    around = [path for path in {*before, *after} if not path.startswith(target) and not path.endswith("/ran")]
    # the index, which may always go
    around = [path for path in around if not path.startswith(str(ground.root / "home/.cache"))]
    changed = [path for path in around if before.get(path) != after.get(path)]
    # a folder's own change time tells of the file in it
    changed = [path for path in changed if not (path in before and path in after and os.path.isdir(path))]
    if changed:
        yield f"written outside: {', '.join(sorted(changed))[:300]}"
    odd = [path for path in ground.root.iterdir() if path.name not in ("repo", "home", "tmp", "outside", "target")]
    if odd:
        yield f"written outside: {odd}"
    for path in ground.target.rglob("*"):
        status = path.lstat()
        is_text = stat.S_ISREG(status.st_mode) and status.st_size < 1 << 20
        if stat.S_ISLNK(status.st_mode):
            leads_to = os.path.normpath(path.parent / os.readlink(path))
            if str(path) not in before and not leads_to.startswith(target):
                yield f"written outside: {path.name} leads out of the target"
        elif is_text and SECRET.encode() in path.read_bytes():
            yield f"secret: it is in {path.name}"
    secret = hashlib.sha1(b"blob %d\0" % len(SECRET) + SECRET.encode()).hexdigest()
    if (ground.git_dir / "objects" / secret[:2] / secret[2:]).exists():
        yield "secret: it is in git"


def _commands(evil: str, honest: Sequence[str], ground: Ground) -> list[tuple[str, ...]]:
    return [
        ("ls",),
        ("ls", "--json"),
        ("show", honest[0]),
        ("show", evil),
        ("show", evil, "--json"),
        ("show", evil, "-m", "loss"),
        ("experiments",),
        ("artifacts", "ls", evil),
        ("artifacts", "ls", evil, "--json"),
        ("artifacts", "get", evil, "--to", str(ground.target)),
        ("recover", "--json"),
        ("verify",),
        ("verify", "--json"),
    ]


def _judge_answer(
    words: Sequence[str], done: Outcome, expect: Expect, honest: Sequence[Mapping[str, Any]], evil: str
) -> Iterator[str]:
    if done.code is None or done.code not in _ERROR_CODES:
        return
    said = done.stderr.decode(errors="replace")
    if expect.refused:
        if words[0] in ("recover", "verify"):
            return  # there may be nothing to recover; what git says is told as damage
        if done.code != 1 or expect.refused not in said:
            yield f"answer: exit code {done.code}, not refused with {expect.refused!r}: {said[-200:]!r}"
        return
    if expect.is_unreadable and done.code:
        return
    if words[0] == "ls" and done.code:
        yield f"honest runs: exit code {done.code}: {said[-200:]!r}"
    elif words == ("ls", "--json"):
        listed = {run["id"]: run for run in _loads(done.stdout) or []}
        for number, run in enumerate(honest):
            found = listed.get(run["id"])
            if number not in expect.changed and found != run and (number in expect.honest or found is not None):
                yield f"honest runs: {run['name']} is listed as {str(listed.get(run['id']))[:200]}"
    elif words == ("show", str(honest[0]["id"])) and done.code and 0 in expect.honest:
        yield f"honest runs: not shown: {said[-200:]!r}"
    elif words == ("show", evil) and expect.shown is not None and (done.code == 0) != expect.shown:
        yield f"answer: shown with exit code {done.code}: {said[-200:]!r}"
    elif (
        words[0] == "verify"
        and "--json" not in words
        and expect.damaged is not None
        and (done.code == 1) != expect.damaged
    ):
        yield f"answer: exit code {done.code}: {done.stdout[:200]!r} {said[-200:]!r}"
    if "--json" in words and done.code == 0 and _loads(done.stdout) is None:
        yield "answer: that is no JSON"


def _loads(data: bytes) -> Any:
    try:
        return json.loads(data)
    except ValueError:
        return None
