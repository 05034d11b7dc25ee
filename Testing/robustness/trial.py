"""What a case of the trial is, the folder in which it runs, and what every case must fulfil.

A case is a function that is given a `Place`, a folder of its own, and raises `Shortcoming` where GenReg falls short:

- a command ends with a documented exit code; with 2 it prints one sentence, writes nothing and changes nothing;
- nothing is left behind in the folder of temporary files;
- no case takes longer than `PATIENCE_SECONDS`;
- nothing is silently wrong: what is read is true, or there is a warning.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import io
import os
import random
import re
import signal
import stat
import subprocess
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from GenRegLogic.errors import GenRegError

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 180
"""No end after so long is a hang. Where nothing fits, all poses are searched: up to a minute on a busy machine."""
DONE, BAD_INPUT, NOT_TRUSTWORTHY, INTERRUPTED = 0, 2, 3, 130
DOCUMENTED = (DONE, BAD_INPUT, NOT_TRUSTWORTHY, INTERRUPTED)
TEMPORARY = re.compile(r"\.[0-9a-f]{8}\.")
"""How the names of files begin that are not complete yet."""

MESSAGE, WARNING = "genreg: ", "genreg: warning: "

CRASH, HANG, CODE, SENTENCE, LEFT, WRONG, TRUSTED = (
    "crash or traceback",
    "hang",
    "exit code",
    "not one sentence",
    "files left or changed",
    "silently wrong",
    "trusted",
)
"""The sorts of failure."""


class Shortcoming(Exception):
    """A case falls short.

    Args:
        sort: One of the sorts of failure above.
        text: What happened.
    """

    def __init__(self, sort: str, text: str) -> None:
        super().__init__(f"{sort}: {text}")
        self.sort = sort


class Hang(BaseException):
    """A case takes too long; no handler of an `Exception` takes it for its own."""


@dataclasses.dataclass(frozen=True, eq=False)
class Case:
    """One case.

    Attributes:
        kind: The kind of case, for the table.
        name: Unique within its kind.
        check: Raises `Shortcoming` where GenReg falls short.
        subset: Whether the test suite runs it.
        seconds: How long it may take.
    """

    kind: str
    name: str
    check: Callable[[Place], None]
    subset: bool = True
    seconds: float = PATIENCE_SECONDS

    @property
    def seed(self) -> int:
        """Of the random numbers of this case."""
        return zlib.crc32(f"{self.kind} {self.name}".encode())

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


@dataclasses.dataclass(frozen=True)
class Ran:
    """A command that has run: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def warned(self) -> bool:
        return WARNING in self.err or "\n  " in self.out


class Place:
    """The folder of a case, and what can be done in it.

    Args:
        folder: An empty folder.
        random: The case's random numbers.
    """

    def __init__(self, folder: Path, random: random.Random) -> None:
        self.folder, self.random = folder, random
        self.out = folder / "out"
        self.temporary = folder.parent / f"{folder.name}-tmp"
        self.out.mkdir(parents=True)
        self.temporary.mkdir()

    def genreg(self, *words, check: Callable[[Ran, dict], None] | None = None) -> Ran:
        """Run a command in this process and check that it is well-behaved, whether or not it succeeds."""
        return self._checked(lambda: captured([str(word) for word in words]), words)

    def process(self, *words, **options) -> Ran:
        """The same as a process of its own; `options` go to `subprocess.run`."""
        return self._checked(lambda: self._process(words, **options), words)

    def refused(self, *words, process: bool = False, **options) -> Ran:
        """Run a command that has to be refused."""
        ran = self.process(*words, **options) if process else self.genreg(*words)
        expect(ran.code == BAD_INPUT, CODE, f"{ran.code} instead of 2; {ran.err[-300:]}")
        return ran

    def read(self, read: Callable, *arguments, **options):
        """What a function of the package returns, or the sentence with which it refuses, as a string."""
        before = snapshot(self.folder)
        try:
            return read(*arguments, **options)
        except GenRegError as error:
            text = str(error)
            expect("\n" not in text and text.endswith((".", ".)")), SENTENCE, text)
            expect(snapshot(self.folder) == before, LEFT, "reading changed files")
            return text
        except Exception as error:
            raise Shortcoming(CRASH, shown(error)) from error

    def start(self, *words, program: str | None = None, **options) -> subprocess.Popen:
        """Start a command as a process of its own; its standard streams are pipes unless `options` say otherwise."""
        how = ["-m", "GenRegLogic.cli"] if program is None else ["-c", program]
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"} | options
        options["env"] = self.environment | options.get("env", {})
        return subprocess.Popen([sys.executable, *how, *map(str, words)], cwd=self.folder, **options)

    @property
    def environment(self) -> dict[str, str]:
        # a process that can write only small files must not leave an incomplete .pyc file behind
        own = {"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1", "TMPDIR": str(self.temporary)}
        return os.environ | own | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}

    def _process(self, words, **options) -> Ran:
        process = self.start(*words, **options)
        try:
            out, err = process.communicate(timeout=PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise Shortcoming(HANG, f"no end after {PATIENCE_SECONDS} s") from None
        return Ran(process.returncode, out or "", err or "")

    def _checked(self, run: Callable[[], Ran], words: Sequence) -> Ran:
        before = snapshot(self.folder)
        ran = run()
        text = f"genreg {' '.join(str(word)[:60] for word in words)}: {ran.err[-500:]}"
        expect("Traceback" not in ran.err and ran.code != 1, CRASH, text)
        expect(ran.code in DOCUMENTED, CODE, f"{ran.code}; {text}")
        if ran.code in (BAD_INPUT, INTERRUPTED) and not ran.out:
            said = sentences(ran.err)
            expect(len(said) == 1 and said[0].endswith((".", "'", ".)")), SENTENCE, text)
            changed = differences(before, snapshot(self.folder))
            expect(not changed, LEFT, f"{changed}; {text}")
        self.check_tidy()
        return ran

    def check_tidy(self) -> None:
        """Nothing is left in the folder of temporary files, and no hidden file beside the results."""
        left = [*self.temporary.iterdir(), *(path for path in self.out.iterdir() if TEMPORARY.match(path.name))]
        expect(not left, LEFT, ", ".join(path.name for path in left))


def expect(condition: bool, sort: str, text: str) -> None:
    """Raise a `Shortcoming` of a sort unless a condition holds."""
    if not condition:
        raise Shortcoming(sort, text)


def sentences(err: str) -> list[str]:
    """The lines of standard error that are neither warnings nor progress."""
    lines = [line for line in err.splitlines() if line.strip() and not line.startswith(WARNING)]
    return [line for line in lines if " %  " not in line[:8]]


def snapshot(folder: Path) -> dict[str, tuple]:
    """What is in a folder: for each path its mode, and a hash of the bytes of a file or the target of a link."""
    found = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = ""
        if stat.S_ISLNK(mode):
            content = os.readlink(path)
        elif stat.S_ISREG(mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (mode, content)
    return found


def differences(before: dict, after: dict) -> list[str]:
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


@contextlib.contextmanager
def redirected() -> Iterator[tuple[io.IOBase, io.IOBase]]:
    """Inside the block, the process's standard streams, those of its libraries too, go into two files."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        kept = [os.dup(1), os.dup(2)]
        streams = [os.fdopen(os.dup(file.fileno()), "w", errors="backslashreplace") for file in (out, err)]
        try:
            sys.stdout.flush(), sys.stderr.flush()
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            with contextlib.redirect_stdout(streams[0]), contextlib.redirect_stderr(streams[1]):
                yield out, err
        finally:
            for stream in streams:
                stream.close()
            os.dup2(kept[0], 1), os.dup2(kept[1], 2)
            for number in kept:
                os.close(number)


def captured(words: Sequence[str]) -> Ran:
    """Run a command in this process."""
    from GenRegLogic.cli import main

    with redirected() as (out, err):
        try:
            code = main(list(words))
        except SystemExit as ended:  # argparse's --help and --version
            code = ended.code or 0
        except Exception:
            traceback.print_exc()
            code = 1
        sys.stdout.flush(), sys.stderr.flush()
        out.seek(0), err.seek(0)
        return Ran(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def shown(error: BaseException) -> str:
    """An unexpected error in one line, with the place in the package from which it came."""
    places = [frame for frame in traceback.extract_tb(error.__traceback__) if "GenRegLogic" in frame.filename]
    where = f" at {Path(places[-1].filename).name}:{places[-1].lineno}" if places else ""
    return f"{type(error).__name__}{where}: {str(error)[:200]}"


@contextlib.contextmanager
def patience(seconds: float = PATIENCE_SECONDS) -> Iterator[None]:
    """Raises `Hang` when the block takes too long, where the system has an alarm."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(number, frame):
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def run_case(case: Case, folder: Path) -> Shortcoming | None:
    """Run a case in an empty folder; returns how it falls short, or None."""
    place = Place(folder, random.Random(case.seed))
    working, kept = os.getcwd(), tempfile.tempdir
    os.chdir(place.folder)
    tempfile.tempdir = str(place.temporary)
    try:
        with patience(case.seconds), np.errstate(all="ignore"):
            case.check(place)
            place.check_tidy()
        return None
    except Shortcoming as found:
        return found
    except Hang:
        return Shortcoming(HANG, f"no end after {case.seconds:g} s")
    except Exception as error:
        return Shortcoming(CRASH, shown(error) + "".join(traceback.format_tb(error.__traceback__)[-2:]))
    finally:
        tempfile.tempdir = kept
        os.chdir(working)


def timed(case: Case, folder: Path) -> tuple[Shortcoming | None, float]:
    """`run_case`, and the seconds of the processor that it took, those of its processes too."""
    before = sum(os.times()[:4])
    found = run_case(case, folder)
    return found, sum(os.times()[:4]) - before


def waited(condition: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> bool:
    """Whether a condition becomes true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
