"""The interpreter that has the peers: a virtual environment of their own, made on demand in the user's cache.

They are never installed beside gittrack: their dependencies would change what `import gittrack` costs.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path

from places import cache_dir

REQUIREMENTS = ("mlflow>=3.17", "trackio", "tensorboardX")
_NAMES = ("mlflow", "trackio", "tensorboardX")
_LIST_VERSIONS = f"""
import importlib.metadata, json
found = {{one.metadata["Name"]: one.version for one in importlib.metadata.distributions()}}
print(json.dumps({{name: found[name] for name in {_NAMES!r} if name in found}}))
"""


def find_peers(asked: str | None) -> str:
    """The path of an interpreter with the peers: the one asked for, else that of the cache, which may be made.

    Raises:
        CalledProcessError: they could not be installed. OSError: the cache could not be written.
    """
    if asked:
        return asked
    folder = cache_dir() / "venv"
    python = folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    done = folder / "peers-are-here"  # an installation that was cut short is begun again
    if not done.exists():
        print(f"installing the peers: {', '.join(REQUIREMENTS)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *REQUIREMENTS], check=True)
        done.touch()
    return str(python)


def list_versions(python: str) -> dict[str, str]:
    """The versions of the peers that an interpreter has, by name."""
    done = subprocess.run([python, "-c", _LIST_VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def peer_program(python: str, name: str) -> str:
    """The path of a program that came with a peer."""
    return str(Path(python).parent / name)
