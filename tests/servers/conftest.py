"""The clean world and the servers that are tried here."""

from tests.harness import clean_world as clean_world
from tests.harness import repo as repo
from tests.servers.fixtures import git_http as git_http
from tests.servers.fixtures import git_ssh as git_ssh
from tests.servers.fixtures import private_git_http as private_git_http
