"""The clean world and the repository of `tests.harness`."""

from tests.harness import clean_world as clean_world
from tests.harness import newer_git as newer_git
from tests.harness import repo as repo
from tests.servers.fixtures import git_http as git_http
