"""Describing datasets for `gittrack.log_input`: the names that scripts import from here."""

from gittrack.tracking.datasets import Dataset, from_numpy, from_pandas

__all__ = ["Dataset", "from_numpy", "from_pandas"]
