"""Where benchmarks work: a folder on a real disk, git repositories in it, and an environment that is nobody's.

Nothing of the user's is read or written: HOME and the caches are in the work folder, git reads no configuration
but the repository's own, and no peer may phone home.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

_KEPT = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT")
_NOWHERE = "http://127.0.0.1:9"  # the discard port: a peer that wants the network gets none
_MEMORY_DISKS = ("tmpfs", "ramfs")


@dataclass(frozen=True, slots=True)
class Bench:
    """What every benchmark is given: where to work, how thoroughly, and against whom.

    Args:
        folder: an empty folder of this benchmark alone.
        peers_python: an interpreter that has the peers, or None: then nobody is compared with.
    """

    folder: Path
    is_quick: bool
    peers_python: str | None

    def choose(self, thorough: int, quick: int) -> int:
        """A count for this kind of run."""
        return quick if self.is_quick else thorough

    @property
    def environment(self) -> dict[str, str]:
        """The environment of everything that is measured."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {
            **{key: os.environ[key] for key in _KEPT if key in os.environ},
            "HOME": str(home),
            "TMPDIR": str(home),
            "GIT_CONFIG_NOSYSTEM": "1",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_FILE_STORE": "true",
            "DO_NOT_TRACK": "true",
            "HF_HUB_OFFLINE": "1",
            **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
        }

    def make_repository(self, name: str) -> Path:
        """A git repository with one commit of one file, as a project begins."""
        place = self.folder / name
        place.mkdir()
        (place / "train.py").write_text("print('training')\n", encoding="utf-8")
        self.git(place, "init", "--quiet", "--initial-branch=main")
        self.git(place, "config", "user.name", "Bench")
        self.git(place, "config", "user.email", "bench@localhost")
        self.git(place, "config", "gc.auto", "0")
        self.git(place, "add", "train.py")
        self.git(place, "commit", "--quiet", "--message=first")
        return place

    def git(self, place: Path, *words: str) -> str:
        """What plain git says in a repository.

        Raises:
            CalledProcessError: it failed.
        """
        argv = ["git", *words]
        done = subprocess.run(argv, cwd=place, env=self.environment, capture_output=True, text=True, check=True)
        return done.stdout.strip()


def cache_dir() -> Path:
    """The folder of the benchmarks in the user's cache."""
    if sys.platform == "darwin":
        root = Path.home() / "Library" / "Caches"
    else:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "gittrack-bench"


def make_work_folder(parent: str | None) -> Path:
    """A new, empty folder on a real disk: in ``parent``, or else in the user's cache."""
    root = Path(parent) if parent else cache_dir() / "work"
    root.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix="bench-", dir=root)).resolve()


def remove_work_folder(folder: Path) -> None:
    """Remove it; a folding of packs in the background may put files into it for a moment yet."""
    for _ in range(20):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.25)


def is_in_memory(folder: Path) -> bool:
    """Whether a folder is on a file system that only lives in memory, where durable writes cost nothing."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return False
    kinds = [line.partition(" - ")[2].split(" ")[0] for line in mounts if line.split(" ")[2] == wanted]
    return any(kind in _MEMORY_DISKS for kind in kinds)
