"""The clean world and the repository of `tests.harness`."""

from tests.harness import clean_world as clean_world
from tests.harness import repo as repo
from tests.servers.fixtures import dulwich_lfs as dulwich_lfs
from tests.servers.fixtures import giftless as giftless
from tests.servers.fixtures import git_ssh as git_ssh
from tests.servers.seaweed import seaweed as seaweed
from tests.servers.seaweed import seaweed_server as seaweed_server
from tests.servers.sftp import sftp_place as sftp_place
