"""Hooks of MkDocs: pages from files outside of docs/, a reference from the docstrings, and links to source files."""

import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

import equipoise
from equipoise.networks import NETWORKS
from equipoise.objectives import OBJECTIVES

ROOT = Path(__file__).parent.parent
OUTSIDE = {"index.md": "README.md", "changelog.md": "CHANGELOG.md"}  # pages made of files outside of docs/
LINK = re.compile(r"(?<=\]\()([^)\s#:]+)(?=[)#])")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and every file of the repository that a page links to."""
    for name, source in OUTSIDE.items():
        files.append(File.generated(config, name, content=(ROOT / source).read_text(encoding="utf-8")))
    for name, text in reference().items():
        files.append(File.generated(config, name, content=text))
    for page in list(files.documentation_pages()):
        for link in LINK.findall(page.content_string):
            target = _target(page.src_uri, link)
            if target.is_file() and not target.is_relative_to(ROOT / "docs") and target.name not in OUTSIDE.values():
                name = f"files/{target.relative_to(ROOT).as_posix()}"
                if files.get_file_from_path(name) is None:
                    files.append(File.generated(config, name, content=target.read_bytes()))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Links as they are written for readers of the repository, led to where the site has what they mean."""
    pages = {source: name for name, source in OUTSIDE.items()}

    def led(match: re.Match[str]) -> str:
        target = _target(page.file.src_uri, match[1])
        if not target.is_relative_to(ROOT):
            return match[1]
        path = target.relative_to(ROOT).as_posix()
        place = pages.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else f"files/{path}")
        return os.path.relpath(place, Path(page.file.src_uri).parent)

    return LINK.sub(led, markdown)


def _target(page: str, link: str) -> Path:
    """What a link of a page means in the repository."""
    folder = ROOT if page in OUTSIDE else (ROOT / "docs" / page).parent
    return Path(os.path.normpath(folder / link))


def reference() -> dict[str, str]:
    """Pages of the reference by their names, from what is public."""
    public = [f"equipoise.{module}.{name}" for name, module in sorted(equipoise._MODULES.items(), key=_first_letter)]
    classes: dict[str, list[str]] = {
        "Objectives": [_path(kind) for kind in OBJECTIVES.values()],
        "Networks": [_path(kind) for kind in NETWORKS.values()],
    }
    text = "# Python\n\nEverything that `import equipoise` offers. Objectives and networks follow, a page each.\n"
    pages = {"reference/index.md": text + "".join(f"\n::: {path}\n" for path in public)}
    for title, paths in classes.items():
        listed = "".join(f"\n::: {path}\n" for path in dict.fromkeys(paths))
        pages[f"reference/{title.lower()}.md"] = f"# {title}\n{listed}"
    return pages


def _first_letter(entry: tuple[str, str]) -> tuple[bool, str]:
    return entry[0][0].isupper(), entry[0].lower()  # what is called first, then classes


def _path(kind: Any) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"
