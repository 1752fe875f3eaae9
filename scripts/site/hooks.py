"""What MkDocs does to the pages: links out of docs/ go to the repository, and a folder in `nav` is all of its pages."""

import re
from pathlib import Path
from posixpath import join, normpath
from typing import Any

REPOSITORY = "https://github.com/kaggle-unet/kaggle-unet/blob/main"


def on_config(config: Any) -> Any:
    """Replace a folder in `nav` by its pages, so that a new decision needs no line there."""
    docs = Path(config.docs_dir)
    for section in config.nav:
        for title, pages in section.items():
            if isinstance(pages, str) and (docs / pages).is_dir():
                found = sorted((docs / pages).glob("*.md"), key=lambda path: (path.name != "README.md", path))
                section[title] = [path.relative_to(docs).as_posix() for path in found]
    return config


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Point links to files outside docs/ at the repository."""
    folder = Path(page.file.src_uri).parent.as_posix()

    def point(link: re.Match[str]) -> str:
        target = normpath(join("docs", folder, link[1]))
        return link[0] if target.startswith("docs/") else f"]({REPOSITORY}/{target}{link[2]})"

    return re.sub(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)", point, text)
