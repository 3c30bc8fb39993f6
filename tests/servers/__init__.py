"""Real servers for the tests, each on a free port of 127.0.0.1 and gone at the end of a ``with``.

A module a server; `starting` runs a program until it answers, `fixtures` are pytest's names for the usual ones.
"""
