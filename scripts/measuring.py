"""Shared by the measuring scripts: cases and their referee, costs of processes, stored runs, the machine.

Key functions: `load_bench` (real pairs, scores and peers), `measure_process` (seconds and memory of one command),
`Finished` (stores finished runs), `machine` (description of the machine, without names).

As a program it starts one command and writes its cost: `measuring.py TAKEN.json COMMAND ARGUMENT ...`. This separate
process is needed because on Linux the peak memory of a process includes that of its parent at the start, and a parent
that holds scans would hide the memory of the command. This file therefore imports only the standard library at the top.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import hashlib
import importlib.util
import json
import math
import os
import platform
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
ENGINE = ROOT / "GenRegLogic"
ENVIRONMENT_PYTHON = ROOT / ".venv" / "bin" / "python"
DATA, BENCH = ROOT.parent / "shared" / "data", ROOT.parent / "shared" / "bench"
WORK = ROOT / "build" / "benchmark"
OUTPUT = ROOT / "Resources" / "benchmark"

NEEDED = ("numpy", "SimpleITK", "torch", "matplotlib")
BAD_INPUT, INTERRUPTED, NOT_FOUND = 2, 130, 127

OUTLYING_ROWS = {"brain_mni_colin_afids": (29, 30)}
"""Landmarks, counted from 1, whose true positions differ by 20 mm between the scans; also scored without them."""

DIGITS = {"dice": 4, "dice_min": 4, "tre_mm": 4, "tre_p90_mm": 4, "tre_mm_without": 4, "sdlogj": 4}
DEFAULT_DIGITS = 6


class MeasuringError(Exception):
    """An error that is shown to the user as one sentence."""


# The program around a script ----------------------------------------------------------------------------------------


def run_script(main: Callable[[], int | None]) -> None:
    """Run a script's main function in the project's environment, and exit with its status."""
    try:
        _use_environment()
        sys.exit(main())
    except MeasuringError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(BAD_INPUT)
    except KeyboardInterrupt:
        print("Interrupted; the same command goes on where it stopped.", file=sys.stderr)
        sys.exit(INTERRUPTED)


def _use_environment() -> None:
    """Restart the script in .venv if this Python lacks the packages."""
    if all(importlib.util.find_spec(name) for name in NEEDED):
        return
    if not ENVIRONMENT_PYTHON.exists() or Path(sys.prefix) == ENVIRONMENT_PYTHON.parent.parent:
        raise MeasuringError("this Python lacks GenReg's packages; run scripts/environment first.")
    os.execv(ENVIRONMENT_PYTHON, [str(ENVIRONMENT_PYTHON), *sys.argv])


def new_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the options of all measuring scripts."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=OUTPUT, help="where the tables go (default: Resources/benchmark)"
    )
    parser.add_argument("--threads", metavar="N", type=int, default=2, help="CPU threads (default: 2)")
    return parser


def add_bench_options(parser: argparse.ArgumentParser) -> None:
    """Options of the scripts that run over the real pairs and can be resumed."""
    parser.add_argument("--cases", metavar="A,B", help="pairs to measure (default: all)")
    parser.add_argument(
        "--data",
        metavar="DIR",
        type=Path,
        default=DATA,
        help="folder of the pairs and cases.json (default: ../shared/data)",
    )
    parser.add_argument(
        "--bench",
        metavar="DIR",
        type=Path,
        default=BENCH,
        help="folder of score.py, peers.py and peers.json (default: ../shared/bench)",
    )
    parser.add_argument(
        "--work",
        metavar="DIR",
        type=Path,
        default=WORK,
        help="where finished runs are stored (default: build/benchmark)",
    )
    parser.add_argument(
        "--only-missing",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="make only runs that are not finished for this version of the engine",
    )


def shown_command(arguments: Sequence[str]) -> str:
    """The command as typed, for publication: only the last part of absolute paths is shown."""
    shown = []
    for argument in arguments:
        option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
        shown.append(option + equals + (f"…/{Path(value).name}" if Path(value).is_absolute() else value))
    return " ".join(text if "…" in text else shlex.quote(text) for text in shown)


def this_command() -> str:
    """The command of this script, relative to the repository."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT) if script.is_relative_to(ROOT) else script.name
    return shown_command([str(name), *sys.argv[1:]])


# The pairs and their referee ----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Bench:
    """The real pairs.

    Attributes:
        data: Folder that the cases' paths are relative to.
        folder: Folder of score.py and peers.py.
        cases: Case by name, in the order of cases.json.
        referee: The module score.py.
        peers: {case: {peer: {"seconds", "score"}}} of peers.json.
    """

    data: Path
    folder: Path
    cases: dict[str, dict]
    referee: ModuleType
    peers: dict[str, dict]

    def file(self, name: str, key: str) -> Path:
        """The file of a case: key is "fixed", "moving", …"""
        return self.data / self.cases[name][key]

    def score(self, name: str, transform: Path | str) -> dict:
        """The referee's figures of a transform file, or of "identity"."""
        figures = self.referee.score(self.cases[name], self.data, str(transform))
        figures = {key: value for key, value in figures.items() if not isinstance(value, str)}
        if name in OUTLYING_ROWS:
            figures["tre_mm_without"] = self._tre_without(name, str(transform))
        return {key: round(value, DIGITS.get(key, DEFAULT_DIGITS)) for key, value in figures.items()}

    def _tre_without(self, name: str, transform: str) -> float:
        mapping = self.referee.read_transform(transform)
        fixed, moving = (self.referee.read_points(self.file(name, key)) for key in ("fixed_points", "moving_points"))
        errors = [math.dist(mapping.TransformPoint(f), m) for f, m in zip(fixed.tolist(), moving.tolist())]
        return statistics.fmean(e for row, e in enumerate(errors, start=1) if row not in OUTLYING_ROWS[name])


def load_bench(data: Path, folder: Path) -> Bench:
    """Read the cases and the referee.

    Raises:
        MeasuringError: A folder or one of its files is missing.
    """
    for path, option in (
        (data / "cases.json", "--data"),
        (folder / "score.py", "--bench"),
        (folder / "peers.py", "--bench"),
        (folder / "peers.json", "--bench"),
    ):
        if not path.is_file():
            raise MeasuringError(f"{path.name} is not in {path.parent}; say with {option} where that folder is.")
    spec = importlib.util.spec_from_file_location("score", folder / "score.py")
    referee = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(referee)
    cases, _ = referee.load_cases(data / "cases.json")
    return Bench(data.resolve(), folder.resolve(), cases, referee, json.loads((folder / "peers.json").read_text()))


def chosen(text: str | None, known: Iterable[str], what: str) -> list[str]:
    """The names of a comma-separated list, all known ones by default.

    Raises:
        MeasuringError: A name is unknown.
    """
    known = list(known)
    if text is None:
        return known
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in known:
            raise MeasuringError(f"there is no {what} {name}; there are {', '.join(known)}.")
    return names


# Whole processes ----------------------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Taken:
    """The cost of a command, child processes included.

    Attributes:
        wall_s: Wall time, seconds.
        cpu_s: User and system time of all its processes and threads, seconds.
        peak_mb: Peak resident memory of its largest process, MB (10^6 bytes).
        exit_code: Exit code; negative: the number of the signal that ended it.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    exit_code: int


def measure_process(command: Sequence[str | Path], log: Path) -> Taken:
    """Run a command to its end, with its output in a log file."""
    with tempfile.TemporaryDirectory() as folder, open(log, "wb") as stream:
        taken = Path(folder) / "taken.json"
        starter = [sys.executable, "-I", "-S", __file__, taken, *command]
        subprocess.run([str(part) for part in starter], stdout=stream, stderr=subprocess.STDOUT, check=False)
        return Taken(**json.loads(taken.read_text()))


def last_line(log: Path) -> str:
    """The last line of a command's output, usually its error."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"


def _start_and_measure(taken: str, *command: str) -> None:
    start = time.perf_counter()
    try:
        child = os.posix_spawnp(command[0], command, os.environ)
    except OSError as error:
        print(f"{Path(command[0]).name} could not be started: {error.strerror}")
        Path(taken).write_text(json.dumps(dataclasses.asdict(Taken(0.0, 0.0, 0.0, NOT_FOUND))))
        return
    try:
        _, status, usage = os.wait4(child, 0)
    except KeyboardInterrupt:
        os.kill(child, signal.SIGKILL)
        raise SystemExit(INTERRUPTED) from None
    wall = time.perf_counter() - start
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes there, kilobytes elsewhere
    result = Taken(
        round(wall, 3),
        round(usage.ru_utime + usage.ru_stime, 3),
        round(usage.ru_maxrss * unit / 1e6, 1),
        os.waitstatus_to_exitcode(status),
    )
    Path(taken).write_text(json.dumps(dataclasses.asdict(result)))


# Finished runs -----------------------------------------------------------------------------------------------------


class Finished:
    """Finished runs by key, in a JSON file that is always complete."""

    def __init__(self, path: Path) -> None:
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._runs = json.loads(path.read_text()) if path.exists() else {}

    def get(self, *key: object) -> dict | None:
        return self._runs.get(self._joined(key))

    def put(self, *key: object, run: Mapping) -> None:
        self._runs[self._joined(key)] = dict(run)
        write_json(self._path, self._runs)

    @staticmethod
    def _joined(key: tuple) -> str:
        return " | ".join(str(part) for part in key)


def fingerprint(*paths: Path) -> str:
    """Twelve digits of a hash of the files, or of all files in the folders."""
    digest = hashlib.sha256()
    for path in paths:
        files = sorted(p for p in path.rglob("*") if p.is_file() and p.suffix != ".pyc") if path.is_dir() else [path]
        for file in files:
            digest.update(file.relative_to(path.parent).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def write_json(path: Path, content: object) -> None:
    """Write indented JSON; the file is replaced only when the new one is complete."""
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


# Provenance ---------------------------------------------------------------------------------------------------------


def provenance() -> dict:
    """Date, command, commit and machine, without host, user or folder names."""
    return {"created": time.strftime("%Y-%m-%d"), "command": this_command(), "commit": commit(), "machine": machine()}


def machine() -> dict:
    """Processor, number of cores that this process may use, memory and system."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    environment = {name: value for name, value in os.environ.items() if name.startswith(("OMP_", "MKL_", "KMP_"))}
    return {
        "cpu": _cpu_model(),
        "cores": cores,
        "memory_gb": round(memory / 1e9, 1),
        "system": f"{platform.system()} {platform.machine()}",
        "environment": environment,
    }


def _cpu_model() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def commit() -> str:
    """The commit, with "+" if the engine has uncommitted changes."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, check=False)
        return done.stdout.strip()

    try:
        return (git("rev-parse", "--short=10", "HEAD") or "unknown") + (
            "+" if git("status", "--porcelain", "--", ENGINE.name) else ""
        )
    except OSError:  # git is not installed
        return "unknown"


# Text ---------------------------------------------------------------------------------------------------------------


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are not None; None if there are none."""
    present = [value for value in values if value is not None]
    return statistics.fmean(present) if present else None


def median(values: Iterable[float | None]) -> float | None:
    """Median of the values that are not None; None if there are none."""
    present = [value for value in values if value is not None]
    return statistics.median(present) if present else None


def counted(number: int, thing: str) -> str:
    """ "1 pair", "2 pairs"."""
    return f"{number} {thing}" + ("" if number == 1 else "s")


def shown(value: float | None, digits: int, *, sign: bool = False) -> str:
    """A number as text for a table; a dash for None."""
    return "–" if value is None else f"{value:{'+' if sign else ''}.{digits}f}"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with the first column left-aligned and the others right-aligned."""
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def markdown_provenance(facts: Mapping, versions: Mapping[str, str]) -> str:
    """Two sentences on the provenance of the figures."""
    box = facts["machine"]
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    return (
        f"Measured {facts['created']} with `{facts['command']}` at commit {facts['commit']}, on {box['cpu']}, "
        f"{box['cores']} cores, {box['memory_gb']:.0f} GB, {box['system']}. Versions: {names}."
    )


if __name__ == "__main__":
    _start_and_measure(*sys.argv[1:])
