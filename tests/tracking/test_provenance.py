"""What made a run: asked in processes of their own, as a script, a notebook or a command line would."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from gittrack.tracking.provenance import format_command, mask_secrets, read_provenance, read_requirements

ROOT = str(Path(__file__).resolve().parents[2])
ASK = f"""
import dataclasses, json, sys
sys.path.insert(0, {ROOT!r})
from gittrack.tracking.provenance import read_provenance
found = read_provenance(".")
tree = found.code.tree if found.code else None
print(json.dumps([dataclasses.asdict(found.source), tree]))
"""


@pytest.fixture(autouse=True)
def plain_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("GIT_", "XDG_", "SLURM_", "PBS_", "LSB_", "JPY_")):
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir(exist_ok=True)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")


def git(folder: Path, *words: str) -> str:
    argv = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", *words]
    return subprocess.run(argv, cwd=folder, capture_output=True, check=True, text=True).stdout.strip()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A committed project whose script prints what it finds."""
    top = tmp_path / "project"
    (top / "src").mkdir(parents=True)
    (top / "src/train.py").write_text(ASK)
    git(top, "init", "-q", "-b", "main")
    git(top, "add", ".")
    git(top, "commit", "-q", "-m", "first")
    return top


def run(folder: Path, *words: str, stdin: str = "") -> tuple[dict[str, object], str | None]:
    argv = [sys.executable, *words]
    done = subprocess.run(argv, cwd=folder, input=stdin, capture_output=True, check=True, text=True)
    source, tree = json.loads(done.stdout.splitlines()[-1])
    return source, tree


# ---- the source


def test_a_script_is_described_by_its_place_in_the_work_tree_and_in_git(project: Path) -> None:
    git(project, "remote", "add", "origin", "https://ada:tok@example.org/x.git")
    source, tree = run(project, "src/train.py", "--lr", "0.1", "--token", "abc")
    assert source == {
        "kind": "LOCAL",
        "name": "src/train.py",
        "command": f"{shlex.quote(sys.executable)} src/train.py --lr 0.1 --token ***",
        "commit": git(project, "rev-parse", "HEAD"),
        "branch": "main",
        "dirty": False,
        "remote": "https://example.org/x.git",
        "left_out": 0,
        "python": ".".join(map(str, sys.version_info[:3])),
        "platform": source["platform"],
        "extra": {},
    }
    assert str(source["platform"]).startswith("Linux" if sys.platform == "linux" else "")
    assert tree == git(project, "rev-parse", "HEAD^{tree}")


def test_a_changed_script_is_dirty(project: Path) -> None:
    (project / "src/train.py").write_text(ASK + "# more\n")
    source, tree = run(project, "src/train.py")
    assert source["dirty"] is True
    assert tree != git(project, "rev-parse", "HEAD^{tree}")


def test_a_script_outside_of_the_work_tree_is_named_without_its_folder(project: Path, tmp_path: Path) -> None:
    (tmp_path / "tool.py").write_text(ASK)
    assert run(project, str(tmp_path / "tool.py"))[0]["name"] == "tool.py"


def test_a_module_run_by_name_is_named_by_its_file(project: Path) -> None:
    assert run(project, "-m", "src.train")[0]["name"] == "src/train.py"


def test_code_given_on_the_command_line_is_named_so(project: Path) -> None:
    assert run(project, "-c", ASK)[0]["name"] == "-c"


def test_code_typed_in_is_interactive(project: Path) -> None:
    source, _ = run(project, "-i", stdin=f"exec({ASK!r})\n")
    assert (source["kind"], source["name"]) == ("LOCAL", "interactive")


def test_a_batch_job_is_a_job(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "4711-value")
    source, _ = run(project, "src/train.py")
    assert source["kind"] == "JOB"
    assert "4711-value" not in json.dumps(source)


def test_without_a_repository_the_script_alone_is_the_code(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(ASK)
    source, tree = run(tmp_path, "alone.py")
    assert (source["name"], source["commit"], source["branch"], source["dirty"]) == ("alone.py", None, None, None)
    assert tree is not None


def test_without_a_repository_and_a_script_there_is_no_code(tmp_path: Path) -> None:
    assert run(tmp_path, "-c", ASK)[1] is None


def test_a_git_file_that_leads_nowhere_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere\n")
    assert run(tmp_path, "-c", ASK)[0]["commit"] is None


def test_the_code_is_read_afresh_each_time(project: Path) -> None:
    before = read_provenance(str(project))
    (project / "new.py").write_text("x\n")
    after = read_provenance(str(project))
    assert before.code is not None
    assert after.code is not None
    assert (before.code.dirty, after.code.dirty) == (False, True)
    assert before.requirements == after.requirements


@pytest.mark.slow
def test_a_notebook_is_named_by_the_path_that_jupyter_gives(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jupyter_client.manager import start_new_kernel

    monkeypatch.setenv("JPY_SESSION_NAME", str(project / "nb/explore.ipynb"))
    (project / "nb").mkdir()
    (project / "nb/explore.ipynb").write_text("{}")
    manager, client = start_new_kernel(cwd=str(project))
    printed: list[str] = []
    try:
        client.execute_interactive(
            ASK, timeout=60, output_hook=lambda message: printed.append(message["content"].get("text", ""))
        )
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()
    source = json.loads("".join(printed))[0]
    assert (source["kind"], source["name"]) == ("NOTEBOOK", "nb/explore.ipynb")


def test_a_script_that_imports_ipykernel_is_no_notebook(project: Path) -> None:
    (project / "src/train.py").write_text("import ipykernel.kernelapp\n" + ASK)
    assert run(project, "-W", "ignore", "src/train.py")[0]["kind"] == "LOCAL"


# ---- the command line


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--password", "x", "y"], ["--password", "***", "y"]),
        (["--token=x"], ["--token=***"]),
        (["--hf-token", "-x"], ["--hf-token", "***"]),
        (["--api-key", "x", "--api_key=x"], ["--api-key", "***", "--api_key=***"]),
        (["--apiKey=x", "apikey=x"], ["--apiKey=***", "apikey=***"]),
        (["-secret", "x"], ["-secret", "***"]),
        (["DB_PASSWORD=x y", "+db.password=x"], ["DB_PASSWORD=***", "+db.password=***"]),
        (["--token", "--lr", "1"], ["--token", "--lr", "1"]),
        (["https://u:p@h/x"], ["https://***@h/x"]),
        (["--db=postgres://u:p/w@h:1/x"], ["--db=postgres://***@h:1/x"]),
        (["s3://b/x?X-Amz-Signature=abc&a=1"], ["s3://b/x?X-Amz-Signature=***&a=1"]),
        (["-c", "login(token='abc', lr=1)"], ["-c", "login(token='***', lr=1)"]),
        (["Authorization: Bearer abcdefgh"], ["Authorization: Bearer ***"]),
        (["hf_" + "a" * 34], ["hf_***"]),
    ],
)
def test_a_secret_becomes_stars(words: list[str], expected: list[str]) -> None:
    assert mask_secrets(words) == expected


@pytest.mark.parametrize(
    "words",
    [
        ["--max-tokens", "512"],
        ["--num_tokens=5", "--tokenizer", "bert"],
        ["--eos-token", "</s>"],
        ["--key", "accuracy", "--lr=0.1"],
        ["https://host/x", "a@b"],
        ["git@host:x"],
    ],
)
def test_what_is_no_secret_stays(words: list[str]) -> None:
    assert mask_secrets(words) == words


def test_a_command_is_quoted_for_a_shell() -> None:
    assert format_command(["a b", "--token", "x", "it's"]) == "'a b' --token *** 'it'\"'\"'s'"


# ---- the packages


def install(folder: Path, name: str, origin: dict[str, object] | None = None) -> None:
    (folder / name).mkdir(parents=True)
    if origin is not None:
        (folder / name / "direct_url.json").write_text(json.dumps(origin))


def requirements_of(monkeypatch: pytest.MonkeyPatch, *folders: Path) -> str:
    monkeypatch.setattr(sys, "path", [str(folder) for folder in folders])
    return read_requirements()


def test_packages_are_pinned_sorted_and_normalised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Zope.interface-6.0", "PyYAML-6.0.1", "torch-2.1.0+cu118", "ruamel_yaml-0.18", "a-1"):
        install(tmp_path / "site", f"{name}.dist-info")
    assert requirements_of(monkeypatch, tmp_path / "site") == (
        "a==1\npyyaml==6.0.1\nruamel-yaml==0.18\ntorch==2.1.0+cu118\nzope-interface==6.0\n"
    )


def test_the_first_on_the_path_wins_and_leftovers_count_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path / "one", "x-2.0.dist-info")
    install(tmp_path / "two", "X-1.0.dist-info")
    install(tmp_path / "two", "~ip-1.0.dist-info")
    install(tmp_path / "two", "dev.egg-info")
    install(tmp_path / "two", "old-1.0-py3.11.egg-info")
    (tmp_path / "lib.zip").write_bytes(b"")
    folders = (tmp_path / "one", tmp_path / "lib.zip", tmp_path / "none", tmp_path / "two")
    assert requirements_of(monkeypatch, *folders) == "old==1.0\nx==2.0\n"


def test_a_direct_url_is_kept_without_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vcs = {"url": "https://u:tok@host/a.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}}
    install(tmp_path / "s", "a-1.dist-info", vcs)
    install(tmp_path / "s", "b-1.dist-info", {"url": "https://u:tok@host/b.whl", "archive_info": {}})
    install(tmp_path / "s", "c-1.dist-info", {"url": "file:///src/c", "dir_info": {"editable": True}})
    install(tmp_path / "s", "d-1.dist-info", {"url": "file:///croot/d", "dir_info": {}})
    install(tmp_path / "s", "e-1.dist-info", {"rubbish": []})
    assert requirements_of(monkeypatch, tmp_path / "s") == (
        "a @ git+https://host/a.git@abc\nb @ https://host/b.whl\nc @ file:///src/c\nd==1\ne==1\n"
    )


def test_a_package_installed_meanwhile_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "s", "a-1.dist-info")
    os.utime(tmp_path / "s", (1, 1))
    assert requirements_of(monkeypatch, tmp_path / "s") == "a==1\n"
    install(tmp_path / "s", "b-1.dist-info")
    assert requirements_of(monkeypatch, tmp_path / "s") == "a==1\nb==1\n"


def test_the_packages_of_this_interpreter_are_those_that_importlib_finds() -> None:
    from importlib.metadata import distributions

    expected = {
        str(found.metadata["Name"]).lower().replace("_", "-").replace(".", "-") for found in distributions()
    }
    found = {line.split("==")[0].split(" @ ")[0] for line in read_requirements().splitlines()}
    assert found == expected
