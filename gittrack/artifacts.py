"""Listing and downloading artifacts: the names that scripts import from here."""

from gittrack.tracking.artifacts import (
    download_artifacts,
    list_artifacts,
    load_dict,
    load_image,
    load_text,
)

__all__ = ["download_artifacts", "list_artifacts", "load_dict", "load_image", "load_text"]
