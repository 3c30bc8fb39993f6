"""How properties are tried: without a time limit for one example, since machines that test are busy."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("gittrack", deadline=None, print_blob=True)
settings.load_profile("gittrack")
