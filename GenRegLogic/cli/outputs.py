"""Output files of a command: checked before the work begins, and written all or none."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

from ..errors import GenRegError, InputError, ResourceError

__all__ = ["Output", "check_outputs", "check_space", "write_outputs"]


class Output(NamedTuple):
    """A file that a command was asked to write.

    Attributes:
        path: Where it is written.
        kind: Kind of file, as `files.atomic.check_writable` takes it.
        option: The option that asked for it, for error messages.
    """

    path: Path
    kind: str
    option: str


def check_outputs(outputs: Iterable[Output], inputs: Iterable[str | Path | None]) -> None:
    """Refuse outputs that cannot be written, that are also inputs, or that are named twice.

    Args:
        outputs: The files to be written.
        inputs: The files that the command reads; None is ignored.

    Raises:
        InputError: An output is refused.
    """
    from ..files.atomic import check_writable

    read = {_identity(path) for path in inputs if path is not None}
    written: dict[Path, str] = {}
    for output in outputs:
        check_writable(output.path, output.kind)
        identity = _identity(output.path)
        if identity in read:
            raise InputError(f"{output.path} is also an input; give {output.option} another name.")
        if identity in written:
            raise InputError(f"{output.path} is named by both {written[identity]} and {output.option}.")
        written[identity] = output.option


def check_space(outputs: Iterable[Output], bytes_each: int) -> None:
    """Refuse to begin if the results would not fit on the disk.

    Args:
        outputs: The files to be written.
        bytes_each: Upper bound on the size of one file.

    Raises:
        ResourceError: A folder has not enough free space.
    """
    import shutil  # not needed for --help and --version, which have to be quick

    needed: dict[Path, int] = {}
    for output in outputs:
        folder = output.path.absolute().parent
        needed[folder] = needed.get(folder, 0) + bytes_each
    for folder, size in needed.items():
        if shutil.disk_usage(folder).free < size:
            raise ResourceError(
                f"The disk is full: the results need up to {size / 2**20:.0f} MB in {folder}; free some space or "
                "choose another folder."
            )


def write_outputs(jobs: Iterable[tuple[Path, Callable[[Path], None]]]) -> None:
    """Write several files so that either all or none of them appear under their final names.

    Args:
        jobs: (path, function that writes to the path it is given) for each file.

    Raises:
        InputError, ResourceError: Writing failed; nothing was left behind.
    """
    from ..files.atomic import replacing

    with contextlib.ExitStack() as renamed_at_the_end:
        for path, write in jobs:
            temporary = renamed_at_the_end.enter_context(replacing(path))
            try:
                write(temporary)
            except GenRegError as error:
                raise type(error)(str(error).replace(str(temporary), str(path))) from None


def _identity(path: str | Path) -> Path:
    try:
        return Path(os.path.realpath(path))  # `Path.resolve` raises where links lead in a circle
    except ValueError:  # a zero byte in the name; whoever opens the file refuses it
        return Path(path)
