"""Files that are whole or not there: written under a temporary name and renamed when complete.

`check_writable` is called before a long run, so that the run isn't for nothing.

Needs no torch, so that Slicer's own process can use it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ..errors import GenRegError, InputError, ResourceError

__all__ = ["IMAGE_ENDINGS", "check_writable", "replacing", "writing_error"]

WRITE_BITS = stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH

IMAGE_ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
WRITTEN_TRANSFORM_ENDINGS = (".h5", ".tfm")

WRITABLE_ENDINGS = {
    "image": IMAGE_ENDINGS,
    "transform": (*IMAGE_ENDINGS, *WRITTEN_TRANSFORM_ENDINGS),
    "points": (".csv", ".txt", ".fcsv", ".mrk.json", ".json"),
    "report": (".json",),
    "page": (".html",),
    "report or page": (".json", ".html"),
    "picture": (".png",),
}
"""What `check_writable` knows, with the endings that each kind may have."""

DOUBLE_ENDINGS = (".nii.gz", ".mrk.json")

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextlib.contextmanager
def replacing(path: Path, needed_bytes: int = 0) -> Iterator[Path]:
    """A temporary path in the same folder that takes the final name if the block succeeds, and vanishes if not.

    A symbolic link stays one: the file that it leads to is replaced. A file that was there before keeps its mode.

    Args:
        path: The final name.
        needed_bytes: Checked against the free space first, as not all of ITK's writers notice a full disk.

    Raises:
        InputError: The folder cannot be written to.
        ResourceError: The disk is full.
    """
    # the ending stays, by which ITK chooses a writer, in the letters that it expects
    stem, ending = _split(path.name)
    target = path
    temporary = path.with_name(f".{secrets.token_hex(4)}.{stem}{ending.lower()}")
    try:
        target = Path(os.path.realpath(path))
        temporary = target.with_name(temporary.name)
        if shutil.disk_usage(target.parent).free < needed_bytes:
            raise OSError(errno.ENOSPC, "not enough space")
        yield temporary
        with contextlib.suppress(FileNotFoundError):
            os.chmod(temporary, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(temporary, target)
    except OSError as error:
        raise writing_error(error, path) from None
    except RuntimeError:  # ITK's only kind of error: it names no reason, and the folder was tried before
        raise ResourceError(
            f"{path} cannot be written completely; the disk may be full: free some space or choose another folder."
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _split(name: str) -> tuple[str, str]:
    """A file's name without its ending, and the ending, of which some have two parts."""
    for ending in DOUBLE_ENDINGS:
        if name.lower().endswith(ending):
            return name[: -len(ending)], name[-len(ending) :]
    return os.path.splitext(name)


def writing_error(error: OSError, path: Path) -> GenRegError:
    """What a failed attempt to write means, in a sentence."""
    if error.errno in NO_SPACE:
        return ResourceError(f"{path} cannot be written: the disk is full: free some space or choose another folder.")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return InputError(f"{path} cannot be written: the folder is read-only for you; choose another folder.")
    return InputError(f"{path} cannot be written ({error.strerror or error}); choose another folder.")


def check_writable(path: str | Path, kind: str) -> Path:
    """Make sure, before any work is done, that a file can be written under this name.

    Args:
        path: The file to be written.
        kind: "image", "transform", "points", "report", "page", "report or page" or "picture" (see `WRITABLE_ENDINGS`).

    Returns:
        The path as a `Path`.

    Raises:
        InputError: The ending doesn't suit the kind, the folder is missing or cannot be written to, or the path is a
            folder.
        ResourceError: The disk is full.
    """
    path = Path(path)
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, ValueError) as error:  # a name too long, links in a circle, a zero byte in the name
        raise InputError(f"{str(path)[:200]!r} is no name for a file ({getattr(error, 'strerror', error)}).") from None
    endings = WRITABLE_ENDINGS[kind]
    if not path.name.lower().endswith(endings):
        raise InputError(f"{path}: the ending is not one that a {kind} can have; use one of {', '.join(endings)}.")
    if path.is_dir():
        raise InputError(f"{path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"The folder {path.parent} does not exist; create it first.")
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file():
        raise InputError(f"{path} is a pipe or a device; give the name of a regular file.")
    if target.is_file() and not target.stat().st_mode & WRITE_BITS:
        raise InputError(f"{path} is write-protected; allow writing to it, or choose another name.")
    try:
        with tempfile.TemporaryFile(
            dir=target.parent
        ) as trial:  # only trying tells, on network and Windows folders too
            trial.write(b"\0")
    except OSError as error:
        raise writing_error(error, path) from None
    return path
