"""The clean world and the repository of `tests.harness`."""

from tests.harness import clean_world as clean_world
from tests.harness import repo as repo
from tests.sharing.conftest import clones as clones
