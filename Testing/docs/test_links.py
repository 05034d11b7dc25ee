"""The written documentation: do links, anchors and pictures exist, is the README short, do shown commands parse?

No network: addresses on the web are checked for their form only.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MAX_README_LINES = 150
FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
CODE_SPAN = re.compile(r"(`+)[^`].*?\1")
LINK = re.compile(r"(!?)\[[^\]]*\]\(([^()\s]+)\)")
GENERATED = "docs/api/"
"""Reference pages hold directives for the site's generator, not prose."""


def name_of(page: Path) -> str:
    """A page as tests name it."""
    return page.relative_to(ROOT).as_posix()


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", FENCE.sub("", text), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        found.add(words.strip().replace(" ", "-"))
    return found


def problems(page: Path, text: str) -> list[str]:
    """What is wrong with the links of a page."""
    wrong = []
    for _, target in LINK.findall(CODE_SPAN.sub("", FENCE.sub("", text))):
        parts = urlsplit(target)
        if parts.scheme:
            if parts.scheme not in ("http", "https", "mailto") or (
                parts.scheme != "mailto" and "." not in parts.netloc
            ):
                wrong.append(f"{target}: not an address")
            continue
        file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        if parts.path and not file.exists():
            wrong.append(f"{target}: no such file")
        elif parts.fragment and file.suffix == ".md":
            other = text if file == page else file.read_text(encoding="utf-8")
            if parts.fragment not in anchors(other):
                wrong.append(f"{target}: no such heading")
    return wrong


def commands(text: str) -> list[list[str]]:
    """Every complete `genreg …` command of a page, without the program's name."""
    lines = [
        line
        for block in re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
        for line in block.splitlines()
    ]
    lines += re.findall(r"`(genreg [^`\n]+)`", text)
    words = [shlex.split(line, comments=True) for line in lines if line.startswith("genreg ")]
    return [line[1:] for line in words if len(line) > 2 and not {"…", "COMMAND"} & set(line)]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_anchor_and_picture_of_a_page_exists(page):
    assert problems(page, page.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[a](missing.md)", "missing.md: no such file"),
        ("![a](missing.png)", "missing.png: no such file"),
        ("# One\n[a](#two)", "#two: no such heading"),
        ("[a](README.md#nowhere)", "README.md#nowhere: no such heading"),
        ("[a](http:/broken)", "http:/broken: not an address"),
    ],
)
def test_a_dead_link_is_found(text, said):
    assert problems(ROOT / "page.md", text) == [said]


def test_a_live_link_is_not_called_dead():
    assert (
        problems(ROOT / "page.md", "# A b, c\n[a](#a-b-c) [b](LICENSE) [c](https://www.slicer.org) `[d](none)`") == []
    )


def test_the_readme_is_at_most_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= MAX_README_LINES


def test_every_page_of_the_guide_is_reached_from_its_first_page():
    linked = {target for _, target in LINK.findall((ROOT / "docs" / "index.md").read_text(encoding="utf-8"))}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} - linked == {"index.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if not name_of(page).startswith(GENERATED)], ids=name_of)
def test_every_shown_command_is_one_that_the_program_takes(page):
    from GenRegLogic.cli.main import build_parser

    for words in commands(page.read_text(encoding="utf-8")):
        try:
            assert build_parser().parse_args(words), words
        except SystemExit as ended:  # --help and --print-completion end the program
            if ended.code != 0:
                raise


def test_a_shown_command_that_the_program_would_refuse_is_found():
    from GenRegLogic.cli.main import build_parser
    from GenRegLogic.errors import InputError

    (words,) = commands("`genreg register a.nii b.nii -o t.nii --no-such-option`")
    with pytest.raises(InputError):
        build_parser().parse_args(words)


def test_the_guide_shows_commands():
    assert len(commands((ROOT / "docs" / "command_line.md").read_text(encoding="utf-8"))) > 8
