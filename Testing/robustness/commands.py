"""Options with bad, extreme and contradictory values, and outputs that cannot or must not be written."""

from __future__ import annotations

import json
import os
import resource
import stat
from collections.abc import Callable, Iterator

from GenRegLogic.files.images import read_volume
from GenRegLogic.files.transforms import read_transform

from .samples import IDENTITY, ball, pair, write
from .scans import FAST
from .trial import BAD_INPUT, CODE, DONE, LEFT, SENTENCE, WRONG, Case, Place, differences, expect, sentences, snapshot

NUMBERS = ("", "nan", "inf", "-inf", "0", "-1", "-0.0", "1e300", "5e-324", "two", "1,5", "0x10", "١", "1" * 400)
SCANS = ("fixed.nii.gz", "moving.nii.gz")
REGISTER = ("register", *SCANS, "-o", "out/t.nii.gz", *FAST)
REPAIR = ("repair", *SCANS, "-t", "identity.tfm", "--region", "mask.nii.gz", "-o", "out/t.nii.gz", "--quiet")
WARP = ("warp", "moving.nii.gz", "-t", "identity.tfm", "-r", "fixed.nii.gz", "-o", "out/w.nii.gz")
WARP_POINTS = ("warp-points", "p.csv", "-t", "identity.tfm", "-o", "out/p.csv")
EVALUATE = ("evaluate", "--fixed", "fixed.nii.gz", "--moving", "moving.nii.gz", "-t", "identity.tfm")
REPORT = ("report", *SCANS, "-t", "identity.tfm", "-o", "out/page.html", "--no-places", "--quiet")
COMMANDS = {
    "register": REGISTER,
    "repair": REPAIR,
    "warp": WARP,
    "warp-points": WARP_POINTS,
    "evaluate": EVALUATE,
    "report": REPORT,
}

NUMERIC = {
    "register": ("--threads", "--resolution", "--smoothness", "--iterations", "--seed", "--tolerance"),
    "repair": ("--threads", "--resolution", "--smoothness", "--iterations"),
}
EXTREMES = {
    "register": (
        ("--threads", "4096"),
        ("--threads", "4097"),
        ("--resolution", "1e-9"),
        ("--resolution", "1e9"),
        ("--smoothness", "0.25"),
        ("--smoothness", "4"),
        ("--smoothness", "4.0000001"),
        ("--iterations", "10001"),
        ("--iterations", "99999999999999999999"),
        ("--seed", "9223372036854775807"),
        ("--seed", "9223372036854775808"),
        ("--seed", "99999999999999999999999999"),
        ("--init", "none", "--init", "center"),
        ("--init", "header", "--initial", "identity.tfm"),
        ("--quiet", "--quiet", "--quiet"),
        ("--linear-only", "--iterations", "5", "--smoothness", "2"),
        ("--fixed-mask", "empty.nii.gz"),
        ("--moving-mask", "empty.nii.gz"),
        ("--fixed-mask", "mask.nii.gz", "--moving-mask", "empty.nii.gz"),
        ("--fixed-mask", "p.csv"),
        ("--keep-rigid", "empty.nii.gz"),
        ("--keep-rigid", "moving.nii.gz"),
        ("--regions", "empty.nii.gz"),
        ("--regions", "moving.nii.gz"),
        ("--fixed-landmarks", "p.csv"),
        ("--fixed-landmarks", "p.csv", "--moving-landmarks", "p.csv"),
        ("--fixed-landmarks", "fixed.nii.gz", "--moving-landmarks", "p.csv"),
        ("--initial", "fixed.nii.gz"),
        ("--initial", "nowhere.tfm"),
        ("--fixed-series", "1"),
        ("--moving-series", ""),
        ("--allow-missing-slices",),
        ("-o", "out/other.nii.gz"),
        ("--report", "out/a.json", "--report", "out/a.json"),
        ("--report", "out/a.txt"),
        ("--warped", "out/t.nii.gz"),
        ("--inverse", "out/t.nii.gz"),
        ("--expected-error", "out/t.nii.gz"),
        ("--expected-error", "out/e.h5"),
    ),
    "repair": (("--region", "empty.nii.gz"), ("--fixed-landmarks", "p.csv"), ("-t", "fixed.nii.gz")),
    "warp": (
        ("--labels", "--cubic"),
        ("--labels",),
        ("--cubic",),
        ("--invert",),
        ("-t", "identity.tfm", "--invert"),
        *((("-t", "identity.tfm") * 50,)),
        ("-t", "nowhere.tfm"),
        ("--series", "7"),
        ("--reference-series", "x"),
    ),
    "warp-points": (("--invert",), ("-t", "fixed.nii.gz"), ("-t", ""), ("--labels",)),
    "evaluate": (
        ("--labels", "1,2"),
        ("--labels", ""),
        ("--labels", "a:b"),
        ("--labels", "1:2:3"),
        ("--fixed-labels", "mask.nii.gz"),
        ("--fixed-labels", "mask.nii.gz", "--moving-labels", "fixed.nii.gz"),
        ("--fixed-labels", "mask.nii.gz", "--moving-labels", "mask.nii.gz", "--labels", "9999999999999999999999"),
        ("--fixed-labels", "mask.nii.gz", "--moving-labels", "mask.nii.gz", "--labels", "-1,0,1"),
        ("--fixed-points", "p.csv"),
        ("--fixed-points", "p.csv", "--moving-points", "q.csv"),
        ("--mask", "mask.nii.gz"),
        ("--mask", "empty.nii.gz"),
        ("--mask", "p.csv"),
    ),
    "report": (
        ("--json", "p.csv"),
        ("--json", "deep.json"),
        ("--json", "list.json"),
        ("--json", "nowhere.json"),
        ("--names",),
        ("--device", "tpu"),
    ),
}  # fmt: skip
DEVICES = (
    "tpu",
    "",
    "cuda:99",
    "cuda:-1",
    "cuda:",
    "CPU",
    "cpu:0",
    "mps",
    "cuda:99999999999999999999",
    "cpu\n",
    "auto ",
)
LOOSE = (
    (),
    ("",),
    ("nonsense",),
    ("register",),
    ("register", ""),
    ("register", "", ""),
    ("register", "a"),
    ("register", "a", "b", "c"),
    ("register", *SCANS),
    ("register", *SCANS, "-o"),
    ("register", *SCANS, "-o", ""),
    ("register", *SCANS, "-o", "."),
    ("register", *SCANS, "-o", "/"),
    ("register", *SCANS, "--out", "out/t.nii.gz"),
    ("register", "fixed.nii.gz", "fixed.nii.gz", "-o", "fixed.nii.gz"),
    ("warp",),
    ("warp-points", "p.csv"),
    ("evaluate",),
    ("report",),
    ("repair", *SCANS, "-t", "identity.tfm", "-o", "out/t.nii.gz"),
    ("demo", "--seed", "-1"),
    ("demo", "--output", "fixed.nii.gz"),
    ("info", "extra"),
    ("--print-completion", "fish"),
    ("--unknown",),
    ("-x",),
    ("--", "register"),
    ("register", "--", "-o", "-o"),
    ("\0",),
    ("register", "a\0b", "c", "-o", "t.nii"),
    ("register", "\udcff", "c", "-o", "t.nii"),
    ("register", *SCANS, "-o", "out/\udcff.nii.gz", *FAST),
    ("register", *SCANS, "-o", "out/a\nb.nii.gz", *FAST),
    ("x" * 100_000,),
    ("register", "x" * 100_000, "y", "-o", "z.nii"),
)


def cases() -> Iterator[Case]:
    yield from option_cases()
    yield from output_cases()


def fill(place: Place) -> None:
    """The files that the commands name."""
    pair(place.folder)
    mask = (ball(12, 0, 0, 0) > 250).astype("u1")
    write(mask, "mask.nii.gz"), write(0 * mask, "empty.nii.gz")
    files = {
        "identity.tfm": IDENTITY,
        "p.csv": "5,5,5\n11,11,11\n15,9,12\n12,5,9\n",
        "q.csv": "1,2,3\n",
        "deep.json": "[" * 100_000,
        "list.json": "[1, 2]",
    }
    for name, text in files.items():
        (place.folder / name).write_text(text)


def option_cases() -> Iterator[Case]:
    for command, options in NUMERIC.items():
        for option in options:
            for number, value in enumerate(NUMBERS):
                words = (*COMMANDS[command], option, value)
                yield Case(
                    "options", f"{command} {option} {value[:20]!r}", _words(words), number % 3 == len(option) % 3
                )
    for command, extremes in EXTREMES.items():
        for options in extremes:
            yield Case("options", f"{command} {' '.join(options[:8])}", _words((*COMMANDS[command], *options)))
    for command in ("register", "repair", "report"):
        for number, device in enumerate(DEVICES):
            words = (*COMMANDS[command], "--device", device)
            yield Case("options", f"{command} --device {device!r}", _words(words, must_fail=True), number % 3 == 0)
    for words in LOOSE:
        name = repr(" ".join(words)[:70])
        yield Case("options", f"genreg {len(words)} words {name}", _words(words))
    for command, words in COMMANDS.items():
        yield Case("options", f"{command} as it should be", _words(words, must_work=True))
        for place, word in enumerate(words[1:], start=1):
            if not word.startswith("-") and (place < 3 or words[place - 1].startswith("-")):
                others = ("", "out") if words[place - 1] == "-o" else ("", "nowhere.nii.gz", "out")
                for other in others:
                    changed = (*words[:place], other, *words[place + 1 :])
                    check = _words(changed, must_fail=True)
                    yield Case("options", f"{command}, {word} is {other!r}, word {place}", check, other == "")


def _words(words: tuple[str, ...], *, must_fail: bool = False, must_work: bool = False) -> Callable:
    def check(place: Place) -> None:
        fill(place)
        ran = place.genreg(*words)
        expect(not must_fail or ran.code == BAD_INPUT, CODE, f"{ran.code} instead of 2")
        expect(not must_work or ran.code in (DONE, 3), CODE, f"{ran.code}: {ran.err}")
        if ran.code != BAD_INPUT and "-o" in words and not must_work:
            written = [path for path in place.out.iterdir() if path.name.endswith(".nii.gz")]
            command = words[0]
            for path in written:
                (read_transform if command in ("register", "repair") else read_volume)(path)

    return check


# Outputs -------------------------------------------------------------------------------------------------------------


def output_cases() -> Iterator[Case]:
    for name, check in OUTPUTS.items():
        yield Case("outputs", name, check)
    for command, option, ending in (
        ("register", "-o", ".nii.gz"),
        ("register", "--warped", ".mha"),
        ("register", "--inverse", ".h5"),
        ("register", "--expected-error", ".nrrd"),
        ("register", "--report", ".html"),
        ("repair", "-o", ".nrrd"),
        ("warp", "-o", ".nii"),
        ("warp-points", "-o", ".fcsv"),
        ("report", "-o", ".html"),
    ):
        for number, (name, (make, works)) in enumerate(TARGETS.items()):
            check = _target(command, option, ending, make, works)
            chosen = command == "warp-points" or (command == "register" and number % 4 == len(option) % 4)
            yield Case("outputs", f"{command} {option} {name}", check, chosen)
    for limit in (0, 10, 100, 1000, 3000):
        for command in ("register", "warp", "warp-points", "report"):
            yield Case(
                "outputs", f"{command}, files of {limit} bytes at most", _small_files(command, limit), limit == 100
            )


def _ordinary(place, name):
    return place.out / name


def _folder(place, name):
    (place.out / name).mkdir()
    return place.out / name


def _below_file(place, name):
    (place.out / "file").write_text("x")
    return place.out / "file" / name


def _pipe(place, name):
    os.mkfifo(place.out / name)
    return place.out / name


def _device_link(place, name):
    (place.out / name).symlink_to("/dev/full")
    return place.out / name


def _circle(place, name):
    (place.out / name).symlink_to(name)
    return place.out / name


def _protected(place, name):
    (place.out / name).write_text("kept")
    (place.out / name).chmod(0o400)
    return place.out / name


def _private(place, name):
    (place.out / name).write_text("old")
    (place.out / name).chmod(0o600)
    return place.out / name


def _link(place, name):
    (place.folder / f"real-{name}").write_text("old")
    (place.out / name).symlink_to(place.folder / f"real-{name}")
    return place.out / name


def _link_to_nothing(place, name):
    (place.out / name).symlink_to(place.folder / f"real-{name}")
    return place.out / name


def _link_to_input(place, name):
    (place.out / name).symlink_to(place.folder / "fixed.nii.gz")
    return place.out / name


def _hard_link(place, name):
    (place.out / "other").write_text("old")
    os.link(place.out / "other", place.out / name)
    return place.out / name


TARGETS = {
    "a new file": (_ordinary, True),
    "a folder": (_folder, False),
    "below a file": (_below_file, False),
    "below a missing folder": (lambda place, name: place.out / "missing" / name, False),
    "a pipe": (_pipe, False),
    "a link to a device": (_device_link, False),
    "a link to itself": (_circle, False),
    "a protected file": (_protected, False),
    "a file of mode 0600": (_private, True),
    "a link to a file": (_link, True),
    "a link to nothing yet": (_link_to_nothing, True),
    "a file with two names": (_hard_link, True),
    "with an ending in capitals": (lambda place, name: place.out / name.upper(), True),
    "with another ending": (lambda place, name: place.out / (name + ".xyz"), False),
    "without a name": (lambda place, name: f"{place.out}/", False),
    "with a name of 255 letters": (lambda place, name: place.out / ("x" * (255 - len(name)) + name), None),
    "with a name of 256 letters": (lambda place, name: place.out / ("x" * (256 - len(name)) + name), False),
    "with letters of many scripts": (lambda place, name: place.out / ("größe 肝臓 🙂" + name), True),
    "only an ending": (lambda place, name: place.out / name[1:], None),
    "in a folder of the system": (lambda place, name: f"/proc/{name}", False),
}


def _target(command: str, option: str, ending: str, make: Callable, works: bool | None) -> Callable:
    def check(place: Place) -> None:
        fill(place)
        path = make(place, "r" + ending)
        words = list(COMMANDS[command])
        if option in words:
            words[words.index(option) + 1] = str(path)
        else:
            words += [option, str(path)]
        kept = snapshot(place.folder)
        mode = os.stat(path).st_mode if os.path.exists(path) else None
        ran = place.genreg(*words)
        expect(works is None or (ran.code == BAD_INPUT) != works, CODE, f"{ran.code}; {ran.err[-300:]}")
        if ran.code == BAD_INPUT:
            expect(not differences(kept, snapshot(place.folder)), LEFT, "something changed")
            return
        expect(os.path.getsize(path) > 10, WRONG, "nothing was written")
        expect(mode is None or os.stat(path).st_mode == mode, LEFT, f"mode {stat.filemode(os.stat(path).st_mode)}")
        expect(os.path.islink(path) == (make in (_link, _link_to_nothing)), LEFT, "a link was replaced")
        others = [name for name in differences(kept, snapshot(place.folder)) if "real-" not in name]
        expect(all(name.startswith("out") for name in others), LEFT, f"{others}")

    return check


def _same_as_input(place: Place) -> None:
    fill(place)
    for words in (REGISTER, WARP):
        for name in ("fixed.nii.gz", "./fixed.nii.gz", "out/../fixed.nii.gz", str(place.folder / "fixed.nii.gz")):
            changed = list(words)
            changed[changed.index("-o") + 1] = name
            place.refused(*changed)
    os.symlink(place.folder / "fixed.nii.gz", place.out / "link.nii.gz")
    changed = list(REGISTER)
    changed[changed.index("-o") + 1] = "out/link.nii.gz"
    place.refused(*changed)


def _same_as_report(place: Place) -> None:
    fill(place)
    place.refused(*REPORT[:-1], "--json", "out/page.html")


def _two_names(place: Place) -> None:
    fill(place)
    os.symlink(place.out / "t.nii.gz", place.out / "u.nii.gz")
    place.refused(*REGISTER, "--warped", "out/u.nii.gz")
    place.refused(*REGISTER, "--warped", "out/../out/t.nii.gz")


def _kept_on_failure(place: Place) -> None:
    fill(place)
    (place.out / "t.nii.gz").write_text("kept")
    place.refused(*REGISTER, "--fixed-mask", "empty.nii.gz")
    expect((place.out / "t.nii.gz").read_text() == "kept", LEFT, "the old file is gone")


def _streams(name: str, **options) -> Callable:
    """A standard stream that cannot be written to; the files have to be there, or nothing."""

    def check(place: Place) -> None:
        fill(place)
        words = [word for word in REGISTER if word != "--quiet"]
        with open("/dev/full", "w") as full:
            opened = {key: full if value == "full" else value for key, value in options.items()}
            process = place.start(*words, **opened)
            _, err = process.communicate(timeout=60)
        expect("Traceback" not in (err or ""), SENTENCE, err)
        expect(process.returncode in (0, 2, 3), CODE, f"{process.returncode}; {err}")
        if process.returncode in (0, 3):
            read_transform(place.out / "t.nii.gz")
        else:
            expect(not list(place.out.iterdir()), LEFT, "files beside exit code 2")

    return check


def _closed(number: int) -> Callable:
    def check(place: Place) -> None:
        fill(place)
        process = place.start(*REGISTER[:-1], preexec_fn=lambda: os.close(number))
        _, err = process.communicate(timeout=60)
        expect("Traceback" not in err, SENTENCE, err)
        expect(process.returncode in (0, 2, 3), CODE, f"{process.returncode}; {err}")
        if process.returncode in (0, 3):
            read_transform(place.out / "t.nii.gz")

    return check


def _locale(name: str) -> Callable:
    def check(place: Place) -> None:
        fill(place)
        environment = {"LANG": name, "LC_ALL": name, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        words = list(REGISTER)
        words[words.index("-o") + 1] = "out/größe.nii.gz"
        ran = place.process(*words[:-1], "--report", "out/r.html", "--report", "out/r.json", env=environment)
        expect(ran.code in (DONE, 3), CODE, f"{ran.code}; {ran.err}")
        json.loads((place.out / "r.json").read_text(encoding="utf-8"))
        place.refused("warp", "肝臓.nii", *WARP[2:], process=True, env=environment)

    return check


def _small_files(command: str, limit: int) -> Callable:
    def check(place: Place) -> None:
        fill(place)

        def restrict():
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

        ran = place.process(*COMMANDS[command], preexec_fn=restrict)
        expect(ran.code in (DONE, 2, 3), CODE, f"{ran.code}; {ran.err}")
        expect(ran.code != BAD_INPUT or len(sentences(ran.err)) == 1, SENTENCE, ran.err)

    return check


OUTPUTS = {
    "an output that is an input": _same_as_input,
    "a page that is its own report": _same_as_report,
    "two outputs of one name": _two_names,
    "an old file is kept when the run fails": _kept_on_failure,
    "standard output full": _streams("stdout", stdout="full"),
    "standard error full": _streams("stderr", stderr="full"),
    "both full": _streams("both", stdout="full", stderr="full"),
    "standard output closed": _closed(1),
    "standard error closed": _closed(2),
    "standard input closed": _closed(0),
    "the locale C": _locale("C"),
    "the locale POSIX": _locale("POSIX"),
}
