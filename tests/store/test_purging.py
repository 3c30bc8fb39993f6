"""Purging: what a run alone used goes with it, and nothing that another may have begun to use."""

from __future__ import annotations

import os
from typing import Any

import pytest

import gittrack
from gittrack.errors import BusyError
from gittrack.git.refs import write_lock
from gittrack.store import purging
from tests.harness import Repo


def log_run(content: bytes) -> str:
    with gittrack.start_run() as run:
        run._session.log_bytes(content, "model.bin")
    return run.info.run_id


def test_objects_go_while_no_run_can_be_committed_that_has_them_too(
    repo: Repo, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id, removed, unlink = log_run(b"\0model"), list[str](), os.unlink

    def watch(path: Any, **more: Any) -> None:
        if "/lfs/objects/" in str(path):
            removed.append(str(path))
            with pytest.raises(BusyError), write_lock(repo.repository, wait_s=0.0):
                pass
        unlink(path, **more)

    monkeypatch.setattr(os, "unlink", watch)
    plan = purging.purge(repo.repository, run_id)
    assert [path.rsplit("/", 1)[1] for path in removed] == plan.objects
    assert len(removed) == 1


def test_objects_that_another_run_has_stay(repo: Repo) -> None:
    gone, kept = log_run(b"\0shared"), log_run(b"\0shared")
    assert purging.purge(repo.repository, gone).objects == []
    stored = repo.store.get_run(kept)
    assert [b"".join(repo.store.read_artifact(stored, found)) for found in repo.store.list_artifacts(stored)] == [
        b"\0shared"
    ]
    repo.assert_sound()
