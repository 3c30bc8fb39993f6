"""Reading objects and walking history: the same with git and without; what is damaged hides nothing else."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gittrack.errors import DamagedError, NotFoundError, RepositoryError
from gittrack.git import bulk, reading
from gittrack.git.bulk import read_blobs, walk_commits, walk_sound_commits
from gittrack.git.command import find_git
from gittrack.git.objects import BLOB, FILE_MODE, LINK_MODE, TREE, Commit, ObjectId, ObjectSet, Signature
from gittrack.git.packs import write_pack
from gittrack.git.reading import ObjectReader
from gittrack.git.repository import Repository

from .making import find, git, make

ZERO = ObjectId("0" * 40)
MESSAGES = [
    "subject\n", "subject", "subject\n\nbody\n\nGittrack-Run: x\n", "", "\n", "é 日本 \U0001f600\n",
    "a\n\n\n\nb\n", "tab\there\x1b[31m\n", "\u2028 \x85\n", "x" * 70_000 + "\n", "commit 123\ntree 456\n",
    "cr\r\nlf\r\n", "end \n \n",
]  # fmt: skip


@pytest.fixture(params=["git", "no git"])
def program(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Call it when the repository is made: from then on there is a git program, or none."""

    def choose() -> None:
        if request.param == "no git":
            monkeypatch.setenv("PATH", str(tmp_path / "home"))
            find_git.cache_clear()
            assert find_git() is None

    return choose


@pytest.fixture
def top(tmp_path: Path) -> Path:
    return make(tmp_path / "r")


def add_history(top: Path, messages: list[str]) -> list[ObjectId]:
    """A line of commits with these messages, a second apart, in one pack; the ids from first to last."""
    objects, made = ObjectSet("sha1"), list[ObjectId]()
    for number, message in enumerate(messages):
        tree = objects.add_files({"n": (FILE_MODE, objects.add_blob(str(number).encode()))})
        author = Signature("Ada é", "ada@example.org", 1_000_000_000)
        committer = Signature("Bob", "bob@example.org", 1_700_000_000 + number)
        made.append(objects.add_commit(tree, made[-1:], author, committer, message))
    with write_pack(find(top), objects):
        git(top, "update-ref", "refs/heads/main", made[-1])
    return made


def raw_commit(top: Path, data: bytes) -> ObjectId:
    return ObjectId(
        git(top, "hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=data).decode().strip()
    )


def both_ways(
    top: Path, monkeypatch: pytest.MonkeyPatch, ask: Callable[[Repository], object]
) -> tuple[object, object]:
    """What is answered with git, and without."""
    with_git = ask(find(top))
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(top))
        find_git.cache_clear()
        without = ask(find(top))
    find_git.cache_clear()
    return with_git, without


def test_every_commit_is_walked_once_newest_first(top: Path, program: Callable[[], None]) -> None:
    made = add_history(top, MESSAGES)
    program()
    found = list(walk_commits(find(top), [made[-1], made[3], made[-1]]))
    assert [commit.id for commit in found] == made[::-1]
    first = found[-1]
    assert (first.parents, first.author, first.committed_at_s) == ((), "Ada é <ada@example.org>", 1_700_000_000)
    assert found[0].parents == (made[-2],)


def test_messages_are_whole_with_git_and_without(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tip = add_history(top, MESSAGES)[-1]
    with_git, without = both_ways(top, monkeypatch, lambda repository: list(walk_commits(repository, [tip])))
    assert with_git == without
    assert [commit.message for commit in reversed(with_git)] == MESSAGES  # type: ignore[call-overload]


def test_commits_of_other_programs_are_read_alike(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = git(top, "write-tree").strip()
    ends = b"author \xe9 <a@b> 5 +0000\ncommitter C <c@d> 7 -0130\n"
    tips = [
        raw_commit(top, b"tree " + tree + b"\n" + ends + b"encoding ISO-8859-1\n\n\xe9t\xe9\n"),
        raw_commit(
            top, b"tree " + tree + b"\n" + ends.replace(b"\xe9", b"E") + b"gpgsig -----BEGIN\n x\n\nsigned\n"
        ),
        raw_commit(top, b"tree " + tree + b"\nauthor  <> 5 +0000\ncommitter  <> 6 +0000\n\n"),
    ]
    with_git, without = both_ways(top, monkeypatch, lambda repository: list(walk_commits(repository, tips)))
    assert with_git == without
    assert {commit.message for commit in with_git} == {"été\n", "signed\n", ""}  # type: ignore[attr-defined]


def test_histories_that_part_and_join_are_walked_by_date(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    objects, rng, made = ObjectSet("sha1"), random.Random(5), list[ObjectId]()
    tree = objects.add_files({})
    for number in range(60):
        parents = rng.sample(made[-6:], min(len(made), rng.choice([0, 1, 1, 1, 2])))
        ada = Signature("Ada", "a@b", 1_700_000_000 + number * 10 + rng.randint(-40, 40))
        made.append(objects.add_commit(tree, parents, ada, ada, f"{number}\n"))
    with write_pack(find(top), objects):
        git(top, "update-ref", "refs/heads/main", made[-1])

    def ask(repository: Repository) -> list[Commit]:
        return list(walk_commits(repository, made[-3:]))

    with_git, without = both_ways(top, monkeypatch, ask)
    assert sorted(map(repr, with_git)) == sorted(map(repr, without))  # type: ignore[call-overload]
    expected = git(top, "rev-list", *made[-3:]).decode().split()
    assert [commit.id for commit in without] == expected  # type: ignore[attr-defined]


def test_only_commits_that_hold_a_fixed_text_are_given(top: Path, program: Callable[[], None]) -> None:
    made = add_history(top, ["Run: a.c\n", "Run: abc\n", "Run: A.C\n", "x\n\nRun: a.c d\n"])
    program()
    found = walk_commits(find(top), made[-1:], grep="Run: a.c")
    assert [commit.id for commit in found] == [made[3], made[0]]
    assert list(walk_commits(find(top), [], grep="Run")) == []


def test_a_replaced_object_is_read_as_it_was_made(top: Path, program: Callable[[], None]) -> None:
    made = add_history(top, ["first\n", "second\n"])
    git(top, "replace", made[1], made[0])
    program()
    assert [commit.message for commit in walk_commits(find(top), made[1:])] == ["second\n", "first\n"]


def test_a_shallow_clone_is_walked_to_where_it_was_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = add_history(make(tmp_path / "r"), ["1\n", "2\n", "3\n"])
    git(tmp_path, "clone", "-q", "--depth=2", f"file://{tmp_path}/r", "shallow")
    with_git, without = both_ways(
        tmp_path / "shallow", monkeypatch, lambda repository: list(walk_commits(repository, made[-1:]))
    )
    assert with_git == without
    assert [commit.message for commit in with_git] == ["3\n", "2\n"]  # type: ignore[attr-defined]


def test_an_alternate_and_a_linked_work_tree_are_read(tmp_path: Path, program: Callable[[], None]) -> None:
    made = add_history(make(tmp_path / "r"), ["1\n"])
    git(tmp_path, "clone", "-q", "--shared", "r", "shared")
    git(tmp_path / "shared", "worktree", "add", "-q", "--detach", str(tmp_path / "linked"))
    program()
    for place in ("shared", "linked"):
        assert [commit.id for commit in walk_commits(find(tmp_path / place), made)] == made
        assert list(read_blobs(find(tmp_path / place), [f"{made[0]}:n"])) == [b"0"]


def remove_object(top: Path, object_id: str) -> None:
    """Take one object out of the repository: all packs become loose objects first."""
    packs = Path(find(top).objects_dir, "pack")
    for pack in packs.glob("*.pack"):
        moved = pack.rename(top / pack.name)
        git(top, "unpack-objects", "-q", stdin=moved.read_bytes())
    for index in packs.glob("*.idx"):
        index.unlink()
    Path(find(top).objects_dir, object_id[:2], object_id[2:]).unlink()


def test_a_history_with_a_hole_is_told(top: Path, program: Callable[[], None]) -> None:
    made = add_history(top, ["1\n", "2\n", "3\n"])
    remove_object(top, made[0])
    program()
    with pytest.raises(RepositoryError, match="cannot be walked to its end"):
        list(walk_commits(find(top), made[-1:]))
    with pytest.raises(RepositoryError, match="cannot be walked to its end"):
        list(walk_commits(find(top), [ZERO]))


def test_a_hole_hides_only_what_lies_behind_it(
    top: Path, program: Callable[[], None], caplog: pytest.LogCaptureFixture
) -> None:
    broken = add_history(top, ["1\n", "2\n", "3\n"])
    remove_object(top, broken[0])
    sound = add_history(top, ["a\n", "b\n"])
    program()
    tips = [broken[-1], sound[-1], ZERO]
    found = [commit.message for commit in walk_sound_commits(find(top), tips)]
    assert sorted(found) == ["2\n", "3\n", "a\n", "b\n"]
    told = [record.message for record in caplog.records]
    assert len(told) == 2
    assert all(any(lost in text for text in told) for lost in (broken[0], ZERO))
    caplog.clear()
    assert len(list(walk_sound_commits(find(top), sound[-1:]))) == 2
    assert not caplog.records


SPECS = [
    "{0}:n", "{1}:n", "{0}", "{0}:", "{0}:none", "{0}:n/x", "{0}:dir", "{0}:dir/deep/x", "{0}:sp ace blob 5",
    "none",
    "{blob}", "{tree}", "{tree}:n", ZERO, f"{ZERO}:n", "{0}:a blob missing", "{0}:n\n{0}:n", "{0}:\n", "", " ",
    "{0}:n blob", "{0}:\udcff", "{0}:no\udcfe", "{0}:link", "HEAD blob 3", "{0}:é",
]  # fmt: skip


@pytest.fixture
def specs(top: Path) -> list[str]:
    objects = ObjectSet("sha1")
    blob = objects.add_blob(b"content\n")
    paths = ["n", "dir/deep/x", "sp ace blob 5", "\udcff", "é"]
    tree = objects.add_files({**dict.fromkeys(paths, (FILE_MODE, blob)), "link": (LINK_MODE, blob)})
    ada = Signature("Ada", "a@b", 1)
    commit = objects.add_commit(tree, [], ada, ada, "m\n")
    second = objects.add_commit(objects.add_files({"n": (FILE_MODE, objects.add_blob(b""))}), [], ada, ada, "m\n")
    with write_pack(find(top), objects):
        git(top, "update-ref", "refs/heads/main", commit)
        git(top, "update-ref", "refs/heads/second", second)
    return [spec.format(commit, second, blob=blob, tree=tree) for spec in SPECS]


def test_blobs_are_given_in_order_and_what_is_none_as_none(
    top: Path, specs: list[str], program: Callable[[], None]
) -> None:
    program()
    found = list(read_blobs(find(top), specs))
    given = {number for number, spec in enumerate(SPECS) if spec in (
        "{0}:n", "{1}:n", "{0}:dir/deep/x", "{0}:sp ace blob 5", "{blob}", "{tree}:n", "{0}:\udcff",
        "{0}:link", "{0}:é"
    )}  # fmt: skip
    assert {number for number, data in enumerate(found) if data is not None} == given
    assert all(
        data == (b"" if SPECS[number] == "{1}:n" else b"content\n")
        for number, data in enumerate(found)
        if data is not None
    )
    assert list(read_blobs(find(top), [])) == []


def test_more_questions_and_answers_than_a_pipe_holds(
    top: Path, specs: list[str], program: Callable[[], None]
) -> None:
    big = ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=bytes(200_000)).decode().strip())
    program()
    asked = [specs[0], big, "none"] * 4000  # 400 KB of questions, 800 MB of answers
    asked = asked if find_git() else asked[:60]
    for number, data in enumerate(read_blobs(find(top), asked)):
        assert (len(data) if data is not None else None) == (8, 200_000, None)[number % 3]


def list_children() -> set[str]:
    """The processes that this one has started and not collected; a server for the tests may be among them."""
    return {pid for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()}


def test_a_reader_that_stops_early_leaves_nothing_running(top: Path, specs: list[str]) -> None:
    big = ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=bytes(200_000)).decode().strip())
    start, before = time.monotonic(), list_children()
    for _ in range(5):
        blobs = read_blobs(find(top), [big] * 20_000)
        assert next(blobs) == bytes(200_000)
        blobs.close()  # type: ignore[attr-defined]
    made = add_history(top, ["x" * 1000] * 2000)
    for _ in range(5):
        commits = walk_commits(find(top), made[-1:])
        next(commits)
        commits.close()  # type: ignore[attr-defined]
    assert time.monotonic() - start < 20
    assert list_children() == before


def test_what_is_too_large_to_be_parsed_counts_as_not_there(
    top: Path, specs: list[str], program: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    large = ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=bytes((16 << 20) + 1)).decode().strip())
    fits = ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=bytes(16 << 20)).decode().strip())
    program()
    found = list(read_blobs(find(top), [specs[0], large, specs[0], fits]))
    assert [None if data is None else len(data) for data in found] == [8, None, 8, 16 << 20]
    with ObjectReader(find(top)) as reader:
        assert len(reader.read(large)[1]) == (16 << 20) + 1
        assert len(reader.read_kind(fits, BLOB)) == 16 << 20
        with pytest.raises(DamagedError, match="too many to be read"):
            reader.read_kind(large, BLOB)
        with pytest.raises(DamagedError, match="another kind"):
            reader.read_kind(fits, TREE)


def test_a_commit_that_is_too_large_is_told(
    top: Path, program: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (bulk, reading):
        monkeypatch.setattr(module, "PARSED_BYTES_MAX", 100_000)
    made = add_history(top, ["x" * 300_000])
    program()
    with pytest.raises(RepositoryError):
        list(walk_commits(find(top), made))


def test_what_is_missing_is_not_found(top: Path, specs: list[str]) -> None:
    with ObjectReader(find(top)) as reader:
        with pytest.raises(NotFoundError, match=ZERO):
            reader.read(ZERO)
        assert ZERO not in reader
        assert ObjectId(specs[2]) in reader


def test_a_path_is_found_below_a_tree(top: Path, specs: list[str]) -> None:
    with ObjectReader(find(top)) as reader:
        commit = reader.read_commit(ObjectId(specs[2]))
        found = {path: entry.id for path, entry in reader.walk_tree(commit.tree)}
        assert sorted(found) == sorted(["n", "dir/deep/x", "sp ace blob 5", "\udcff", "é", "link"])
        for path, object_id in found.items():
            entry = reader.find_path(commit.tree, path)
            assert entry is not None
            assert entry.id == object_id
        assert [reader.find_path(commit.tree, path) for path in ("x", "n/x", "dir/x", "", "dir//deep")] == [
            None
        ] * 5


def test_folders_without_end_are_damage(top: Path) -> None:
    objects = ObjectSet("sha1")
    tree = objects.add_files({"/".join("a" * 200): (FILE_MODE, objects.add_blob(b""))})
    with write_pack(find(top), objects), ObjectReader(find(top)) as reader:
        walk = reader.walk_tree(tree)
        with pytest.raises(DamagedError, match="nest deeper"):
            list(walk)


def flips(data: bytes, count: int) -> Iterator[bytes]:
    rng = random.Random(11)
    for _ in range(count):
        at, bit = rng.randrange(len(data)), rng.randrange(8)
        yield data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]


@pytest.mark.parametrize("place", ["loose", "pack", "idx"])
def test_a_flipped_bit_is_told_or_does_no_harm(top: Path, place: str) -> None:
    data = b"the content of a blob, long enough to be compressed compressed compressed\n" * 20
    objects = ObjectSet("sha1")
    blob = objects.add_blob(data)
    tree = objects.add_files({"x": (FILE_MODE, blob)})
    if place == "loose":
        git(top, "hash-object", "-w", "--stdin", stdin=data)
        path = Path(find(top).objects_dir, blob[:2], blob[2:])
    else:
        with write_pack(find(top), objects):
            pass
        (path,) = Path(find(top).objects_dir, "pack").glob(f"*.{place}")
    whole, told = path.read_bytes(), 0
    path.chmod(0o644)
    for damaged in flips(whole, 150):
        path.write_bytes(damaged)
        with ObjectReader(find(top)) as reader:
            assert isinstance(blob in reader, bool)
            try:
                assert reader.read(blob) == (BLOB, data)
            except (DamagedError, NotFoundError):
                told += 1
            try:
                for _ in reader.walk_tree(tree):
                    pass
            except (DamagedError, NotFoundError):
                pass
        for found in read_blobs(find(top), [blob]):
            assert found in (data, None)
    assert told > 0


@pytest.mark.parametrize("how", ["flipped", "cut", "empty"])
def test_a_damaged_blob_counts_as_not_there_and_the_others_are_read(
    top: Path, program: Callable[[], None], how: str
) -> None:
    rng, blobs = random.Random(3), list[ObjectId]()
    for size in (100, 200_000, 100, 17 << 20, 100):
        data = rng.randbytes(size)
        blobs.append(ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=data).decode().strip()))
    for blob in (blobs[1], blobs[3]):
        path = Path(find(top).objects_dir, blob[:2], blob[2:])
        path.chmod(0o644)
        whole = path.read_bytes()
        at = len(whole) // 2
        damaged = {
            "flipped": whole[:at] + bytes([whole[at] ^ 16]) + whole[at + 1 :],
            "cut": whole[:at],
            "empty": b"",
        }
        path.write_bytes(damaged[how])
    program()
    found = list(read_blobs(find(top), blobs * 3))
    assert [None if data is None else len(data) for data in found] == [100, None, 100, None, 100] * 3


def test_a_truncated_pack_is_told(top: Path) -> None:
    objects = ObjectSet("sha1")
    blob = objects.add_blob(random.Random(1).randbytes(10_000))
    with write_pack(find(top), objects):
        pass
    (path,) = Path(find(top).objects_dir, "pack").glob("*.pack")
    path.chmod(0o644)
    os.truncate(path, 5000)
    with ObjectReader(find(top)) as reader, pytest.raises((DamagedError, NotFoundError)):
        reader.read(blob)
    assert list(read_blobs(find(top), [blob])) == [None]


def test_git_that_stops_in_the_middle_is_told(
    top: Path, specs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    false = tmp_path / "bin/git"
    false.parent.mkdir()
    false.write_text("#!/bin/sh\nread x; echo 'junk missing'; exit 1\n")
    false.chmod(0o755)
    monkeypatch.setenv("PATH", f"{false.parent}{os.pathsep}{os.environ['PATH']}")
    find_git.cache_clear()
    with pytest.raises(RepositoryError, match="git cannot read"):
        list(read_blobs(find(top), specs * 100))
    with pytest.raises(RepositoryError, match="cannot be walked"):
        list(walk_commits(find(top), [ObjectId(specs[2])]))


def test_nothing_of_the_repositorys_configuration_is_run(top: Path, specs: list[str], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for key in (
        "core.fsmonitor",
        "core.pager",
        "core.editor",
        "diff.external",
        "core.sshCommand",
        "core.alternateRefsCommand",
    ):
        git(top, "config", key, f"touch {canary}")
    git(top, "config", "filter.evil.smudge", f"touch {canary}; cat")
    (top / ".git/info").mkdir(exist_ok=True)
    (top / ".git/info/attributes").write_text("* filter=evil\n")
    list(read_blobs(find(top), specs))
    list(walk_commits(find(top), [ObjectId(specs[2])], grep="m"))
    assert not canary.exists()


def test_the_users_environment_leads_to_no_other_repository(
    top: Path, specs: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "init", "-q", str(tmp_path / "other")], check=True)
    for name in ("GIT_DIR", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY", "GIT_INDEX_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "other/.git"))
    monkeypatch.setenv("GIT_NAMESPACE", "x")
    assert list(read_blobs(find(top), specs[:1])) == [b"content\n"]
    assert [commit.message for commit in walk_commits(find(top), [ObjectId(specs[2])])] == ["m\n"]


def test_all_paths_of_a_tree_cost_each_of_its_folders_one_reading(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    objects = ObjectSet("sha1")
    paths = sorted(f"{folder}/{n}" for folder in ("a", "a/b/c/d/e", "a/b-", "a/b.x/y", "z") for n in range(200))
    wanted = {path: objects.add_blob(path.encode()) for path in paths}
    tree = objects.add_files({path: (FILE_MODE, blob) for path, blob in wanted.items()})
    write_pack(find(top), objects)
    counted, parse = list[ObjectId](), reading.parse_tree
    monkeypatch.setattr(reading, "parse_tree", lambda name, data: counted.append(name) or parse(name, data))
    with ObjectReader(find(top)) as reader:
        for path in paths:
            entry = reader.find_path(tree, path)
            assert entry is not None
            assert entry.id == wanted[path]
        assert len(counted) == 10  # the folders, and the top
        random.Random(3).shuffle(paths)
        for path in paths:
            entry = reader.find_path(tree, path)
            assert entry is not None
            assert entry.id == wanted[path]
        for none in ("", "a/", "/a", "a//1", "a/b/c/1", "a/1/x", "a/b/c/d/e/1/x", "b"):
            assert reader.find_path(tree, none) is None
        inner = reader.find_path(tree, "a/b/c")
        assert inner is not None
        assert reader.find_path(inner.id, "d/e/7") == reader.find_path(tree, "a/b/c/d/e/7")


def test_of_two_entries_with_one_name_the_first_is_found(top: Path) -> None:
    blobs = [git(top, "hash-object", "-w", "--stdin", stdin=data).decode().strip() for data in (b"1", b"2")]
    data = b"".join(b"100644 a\0" + bytes.fromhex(blob) for blob in blobs)
    words = ("hash-object", "-t", "tree", "-w", "--literally", "--stdin")
    tree = ObjectId(git(top, *words, stdin=data).decode().strip())
    with ObjectReader(find(top)) as reader:
        entry = reader.find_path(tree, "a")
        assert entry is not None
        assert entry.id == blobs[0]


def test_folders_on_the_way_to_a_path_are_not_held_without_end(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_PATHS_MAX", 10)
    objects = ObjectSet("sha1")
    blob = objects.add_blob(b"x")
    tree = objects.add_files({f"{'d/' * depth}{n}": (FILE_MODE, blob) for depth in range(4) for n in range(3)})
    write_pack(find(top), objects)
    with ObjectReader(find(top)) as reader:
        assert reader.find_path(tree, "d/1") is not None
        for _ in range(2):
            with pytest.raises(DamagedError, match="more than 10 paths"):
                reader.find_path(tree, "d/d/d/1")


def two_packs(top: Path) -> tuple[ObjectSet, ObjectSet, Path]:
    """The objects of a sound pack, those of another, and where the other is, without its suffix."""
    sound, other = ObjectSet("sha1"), ObjectSet("sha1")
    for objects, word in ((sound, b"sound"), (other, b"other")):
        tree = objects.add_files({"a": (FILE_MODE, objects.add_blob(word * 100))})
        objects.add_commit(tree, [], Signature("A", "a@b", 1), Signature("A", "a@b", 1), "m\n")
    write_pack(find(top), sound)
    folder = Path(find(top).objects_dir, "pack")
    before = set(folder.iterdir())
    write_pack(find(top), other)
    (pack,) = [path for path in set(folder.iterdir()) - before if path.suffix == ".pack"]
    return sound, other, pack.with_suffix("")


MANY = "multi-pack-index"
NOISE = b"\xfftOc\0\0\0\2" + b"\xff" * 1024 + bytes(4000)


@pytest.mark.parametrize("suffix", [".idx", ".pack", MANY])
@pytest.mark.parametrize("how", ["noise", "cut", "empty", "a link to nowhere"])
def test_one_damaged_pack_keeps_nobody_from_the_others(top: Path, suffix: str, how: str) -> None:
    sound, other, pack = two_packs(top)
    path = pack.parent / suffix if suffix == MANY else pack.with_suffix(suffix)
    if suffix == MANY:
        git(top, "multi-pack-index", "write")
    before = list_children()
    path.chmod(0o644)
    if how == "cut":
        path.write_bytes(path.read_bytes()[:30])
    elif how in ("noise", "empty"):
        path.write_bytes(NOISE if how == "noise" else b"")
    else:
        path.unlink()
        path.symlink_to(top / "nowhere")
    for _ in range(3):  # dulwich asks the packs in no certain order
        with ObjectReader(find(top)) as reader:
            for object_id, kind, data in sound:
                assert reader.read(object_id) == (kind, data)
                assert reader.read_kind(object_id, kind) == data
            for object_id, kind, data in other:
                if suffix == MANY:
                    assert reader.read(object_id) == (kind, data)
                else:
                    with pytest.raises((NotFoundError, DamagedError)):
                        reader.read(object_id)
            with pytest.raises((NotFoundError, DamagedError)):
                reader.read(ZERO)
    assert list_children() == before


def test_what_git_reads_instead_is_held_to_the_same_limit(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PARSED_BYTES_MAX", 100_000)
    objects = ObjectSet("sha1")
    blobs = [objects.add_blob(bytes(100_001)), objects.add_blob(bytes(100_000))]
    write_pack(find(top), objects)
    with ObjectReader(find(top)) as reader:
        monkeypatch.setattr(reader._store, "get_raw", lambda name: broken())
        assert reader.read_kind(blobs[1], BLOB) == bytes(100_000)
        monkeypatch.setattr(reading, "is_larger", lambda *words: broken())
        with pytest.raises(DamagedError, match="too many to be read"):
            reader.read_kind(blobs[0], BLOB)
        assert reader.read_kind(blobs[1], BLOB) == bytes(100_000)


def broken() -> bool:
    raise ValueError("damaged")


def test_git_is_asked_again_after_an_object_at_which_it_ended(top: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut, whole = (
        ObjectId(git(top, "hash-object", "-w", "--stdin", stdin=data).decode().strip())
        for data in (os.urandom(900), b"1")
    )
    path = Path(find(top).objects_dir, cut[:2], cut[2:])
    path.chmod(0o644)
    path.write_bytes(path.read_bytes()[:100])
    with ObjectReader(find(top)) as reader:
        monkeypatch.setattr(reader._store, "get_raw", lambda name: broken())
        for _ in range(3):
            with pytest.raises(DamagedError):
                reader.read(cut)
            assert reader.read(whole) == (BLOB, b"1")
            with pytest.raises(DamagedError):
                reader.read(ZERO)
