"""The entry point of `genreg`: runs the command, and turns every failure into one sentence and an exit code.

Commands import large packages only when they run, so that help and error messages about arguments appear at once.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from ..errors import Cancelled, GenRegError, InputError
from ..machine.libraries import set_runtime_variables
from ..version import __version__
from . import demo, evaluate, info, register, repair, warp
from . import report as html
from .common import BAD_INPUT, EXIT_CODES_HELP, INTERRUPTED, UNEXPECTED, silence

__all__ = ["build_parser", "main"]

DEBUG_VARIABLE = "GENREG_DEBUG"
SHELLS = ("bash", "zsh")


class _Parser(argparse.ArgumentParser):
    """A parser that reports wrong arguments in one sentence instead of printing the whole usage.

    Options must be written in full: an abbreviation in a script would break when a similar option is added.
    """

    def __init__(self, **options) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message.rstrip('.')}; see '{self.prog} --help'.")


class _PrintCompletion(argparse.Action):
    """Prints a shell script that completes commands, options and file names, and exits."""

    def __call__(self, parser, namespace, values, option_string=None) -> NoReturn:
        try:
            import shtab
        except ImportError:
            raise InputError("Shell completion needs the package shtab; install it with 'pip install shtab'.") from None

        for action in _all_actions(parser):
            if action.type is Path:
                action.complete = shtab.FILE
            if ":" in str(action.metavar):
                action.metavar = None  # zsh would end the description at the colon
        print(shtab.complete(parser, values))
        parser.exit()


def _all_actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """The actions of the parser and of its commands."""
    for action in parser._actions:  # argparse has no public access to them
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _all_actions(command)


UNMAPPED = "failed to map segment"
"""What the system's loader says of a library that it has no memory for."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run `genreg`.

    Args:
        argv: The arguments; by default those of the process.

    Returns:
        The exit code; see `EXIT_CODES_HELP`.
    """
    set_runtime_variables()
    try:
        return _run(argv)
    finally:
        _flush_errors()


def _run(argv: Sequence[str] | None) -> int:
    try:
        args = build_parser().parse_args(argv)
        return args.run(args)
    except KeyboardInterrupt:
        return _say("interrupted; nothing more was written.", INTERRUPTED)
    except Cancelled as error:
        return _say(str(error) or "interrupted; nothing was written.", INTERRUPTED)
    except GenRegError as error:
        return _say(str(error), BAD_INPUT)
    except MemoryError:
        return _say("There is not enough memory for this; give a coarser --resolution or smaller scans.", BAD_INPUT)
    except BrokenPipeError:
        # The reader of the output has closed it (`genreg info | head -1`), which is not an error.
        silence(sys.stdout)
        return 0
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _say("The disk is full; free some space or choose another folder.", BAD_INPUT)
        return _say_unexpected(error)
    except Exception as error:
        if isinstance(error, ImportError) and UNMAPPED in str(error):
            return _say("There is not enough memory to load the libraries; close other programs.", BAD_INPUT)
        return _say_unexpected(error)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the program; each command's module adds its own parser to it."""
    parser = _Parser(
        prog="genreg",
        description="Deformable registration of any pair of 3D scans.",
        epilog=EXIT_CODES_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"genreg {__version__}")
    parser.add_argument(
        "--print-completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print a script for completion in this shell",
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, parser_class=_Parser)
    register.add_command(commands)
    repair.add_command(commands)
    warp.add_image_command(commands)
    warp.add_points_command(commands)
    evaluate.add_command(commands)
    html.add_command(commands)
    demo.add_command(commands)
    info.add_command(commands)
    return parser


def _say(message: str, code: int) -> int:
    """Print one line on standard error, and the traceback too if the debug variable is set; returns the code."""
    if os.environ.get(DEBUG_VARIABLE) and sys.exc_info()[0] is not None:
        traceback.print_exc()
    if sys.stderr is None:
        return code
    with contextlib.suppress(OSError):  # a full disk behind standard error
        print(f"genreg: {' '.join(message.split())}", file=sys.stderr)
    return code


def _flush_errors() -> None:
    """Let a standard error that cannot be written to not change the exit code."""
    if sys.stderr is None:
        return
    try:
        sys.stderr.flush()
    except (OSError, ValueError):
        silence(sys.stderr)


def _say_unexpected(error: Exception) -> int:
    text = str(error).strip()
    what = f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__
    hint = f"run again with {DEBUG_VARIABLE}=1 to see where, and please report it."
    return _say(f"something unexpected went wrong ({what}); {hint}", UNEXPECTED)
