"""What MkDocs does to the docs: links out of docs/ go to the repository, notebooks become pages."""

import json
import re
from pathlib import Path
from posixpath import join, normpath
from typing import Any

from mkdocs.structure.files import File, Files

REPOSITORY = "https://github.com/kaggle-unet/kaggle-unet/blob/main"
SEARCHED_FIRST = {"how-to/": 2, "tutorial": 2, "notebooks/": 0.5, "decisions/": 0.2, "experiments": 0.2, "golden": 0.2}


def on_config(config: Any) -> Any:
    """Replace a folder in `nav` by its pages, so that a new decision needs no line there."""
    docs = Path(config.docs_dir)
    for section in config.nav:
        for title, pages in section.items():
            if isinstance(pages, str) and (docs / pages).is_dir():
                found = sorted((docs / pages).glob("*.md"), key=lambda path: (path.name != "README.md", path))
                section[title] = [path.relative_to(docs).as_posix() for path in found]
    return config


def on_files(files: Files, config: Any) -> Files:
    """Add a page for each notebook."""
    for path in sorted(Path(config.docs_dir).rglob("*.ipynb")):
        name = path.relative_to(config.docs_dir).with_suffix(".md").as_posix()
        files.append(File.generated(config, name, content=render_notebook(path)))
    return files


def render_notebook(path: Path) -> str:
    """Write a notebook as Markdown: its texts, its code and what that printed and drew."""
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(source)
            continue
        magic, _, rest = source.partition("\n")
        parts.append(f"```bash\n{rest}\n```" if magic == "%%bash" else f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![What the code drew](data:image/png;base64,{''.join(data['image/png']).strip()})")
            else:
                text = "".join(output.get("text") or data["text/plain"]).strip("\n")
                parts.append(f"```text\n{text}\n```")
    return "\n\n".join([*parts, f"[This notebook]({REPOSITORY}/docs/notebooks/{path.name}), to run it."])


def on_page_markdown(text: str, page: Any, **_: Any) -> str:
    """Point links out of docs/ at the repository, and those to notebooks at their pages; weigh pages for searches."""
    weights = [weight for start, weight in SEARCHED_FIRST.items() if page.file.src_uri.startswith(start)]
    page.meta["search"] = {"boost": weights[0] if weights else 1}
    folder = Path(page.file.src_uri).parent.as_posix()
    text = re.sub(r"(\]\((?!\w+:)[^)\s]+)\.ipynb\)", r"\1.md)", text)
    text = re.sub(r"^```mermaid\n.*?^```\n", "", text, flags=re.DOTALL | re.M)  # needs mermaid.js; a table has it

    def point(link: re.Match[str]) -> str:
        target = normpath(join("docs", folder, link[1]))
        return link[0] if target.startswith("docs/") else f"]({REPOSITORY}/{target}{link[2]})"

    return re.sub(r"\]\((?!\w+:)([^)\s#]+)(#[^)\s]*)?\)", point, text)
