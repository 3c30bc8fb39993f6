"""The clean world and the repository of `tests.harness`."""

from tests.harness import clean_world as clean_world
from tests.harness import repo as repo
from tests.servers.fixtures import dulwich_lfs as dulwich_lfs
from tests.servers.fixtures import giftless as giftless
from tests.servers.fixtures import git_ssh as git_ssh
