"""The page as a file."""

from __future__ import annotations

from pathlib import Path

from ..files.images import check_writable, replacing

__all__ = ["write_html"]


def write_html(page: str, path: str | Path) -> None:
    """Write a page; the file appears only when it is complete.

    Raises:
        InputError: The ending is not .html, or the folder is missing or read-only.
        ResourceError: The disk is full.
    """
    path = check_writable(path, "page")
    content = page.encode("utf-8")
    with replacing(path, len(content)) as temporary:
        temporary.write_bytes(content)
