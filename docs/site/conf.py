"""The documentation as a site: `sphinx-build -W -c docs/site . build/site`, offline throughout.

The source folder is the repository, so that links between pages, decision records, results and code
are the same here and in a checkout.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import staticnet  # noqa: E402

project = "staticnet"
author = copyright = "The staticnet authors"
version = release = staticnet.__version__

root_doc = "docs/index"
include_patterns = ["docs/**", "bench/results/*.md", "CHANGELOG.md", "CONTRIBUTING.md"]
exclude_patterns = [".*", "build", "runs", "docs/site", "kernels", "staticnet", "tests"]

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "api_pages",
    "tour_page",
    "results_pages",
]
myst_enable_extensions = ["colon_fence"]
myst_heading_anchors = 3
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
python_maximum_signature_line_length = 90
smartquotes = False  # w' is a name
toc_object_entries = False  # a page of functions has no second list of them at its side

html_theme = "furo"
html_title = "staticnet"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style, pygments_dark_style = "a11y-high-contrast-light", "github-dark"


def first_page(app: Any, failure: Exception | None) -> None:
    """`index.html` at the top leads to the first page, which lies where its source does."""
    if failure is None and app.builder.name == "html":
        text = '<!doctype html><meta charset="utf-8"><title>staticnet</title>'
        refresh = '<meta http-equiv="refresh" content="0; url=docs/index.html">'
        link = '<a href="docs/index.html">staticnet</a>'
        (Path(app.outdir) / "index.html").write_text(text + refresh + link, encoding="utf-8")


def reachable(app: Any, page: str, template: str, context: dict[str, Any], tree: Any) -> None:
    """What scrolls is reached by the keyboard, and headings beside the page say their level."""
    for part in ("body", "furo_navigation_tree"):
        html = context.get(part) or ""
        html = html.replace(
            '<div class="highlight"><pre>', '<div class="highlight"><pre tabindex="0">'
        )
        html = html.replace('<div class="table-wrapper', '<div tabindex="0" class="table-wrapper')
        context[part] = html.replace('role="heading">', 'role="heading" aria-level="2">')


def setup(app: Any) -> None:
    """What is done to pages, and once they are written."""
    app.connect("html-page-context", reachable, priority=900)  # after the theme has made its tree
    app.connect("build-finished", first_page)
