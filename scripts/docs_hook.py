"""MkDocs hook that adds pages and pictures from outside docs/ to the site, so that no file is duplicated.

In the repository a page in docs/ links to them by `../Resources/…`, and they link to a page by `docs/…`; in the site
all of them are in one folder.
"""

from __future__ import annotations

from pathlib import Path

from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "Resources/*/*.md", "Resources/*/*.png", "Resources/*/*.csv")


def on_files(files, *, config):
    """Add the files from outside docs/."""
    for pattern in OUTSIDE:
        for path in sorted(ROOT.glob(pattern)):
            files.append(File.generated(config, path.relative_to(ROOT).as_posix(), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown, *, page, config, files):
    """Rewrite links to the locations of the files in the site."""
    if (ROOT / "docs" / page.file.src_uri).is_file():
        for outside in ("Resources/", "CONTRIBUTING.md", "CHANGELOG.md"):
            markdown = markdown.replace(f"](../{outside}", f"]({outside}")
    elif "/" not in page.file.src_uri:
        markdown = markdown.replace("](docs/", "](")
    return markdown
