"""The clean world, and clones of one bare remote whose users log, edit and share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.harness import clean_world as clean_world
from tests.harness import repo as repo
from tests.servers.fixtures import git_ssh as git_ssh
from tests.servers.seaweed import seaweed as seaweed
from tests.servers.seaweed import seaweed_server as seaweed_server
from tests.sharing.clones import Clones


@pytest.fixture
def clones(tmp_path: Path) -> Clones:
    return Clones(tmp_path)
