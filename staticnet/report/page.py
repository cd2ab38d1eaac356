"""Documents as HTML pages: each is one file that loads nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from staticnet.report.document import Document


def document_page(document: Document) -> str:
    """The page of what `document` or `graph_document` gave."""
    raise NotImplementedError


def comparison_page(comparison: Mapping[str, Any]) -> str:
    """The page of a comparison: its table, its waterfall, and the document of the function.

    Read are these keys, of which only `columns` and `rows` must be there:

        name            the title
        columns         [{key, label, unit}]; unit: "", "s", "bytes", or what is to stand in the head.
                        Seconds and bytes are scaled to what is easy to read
        rows            [{name, values: {key: number, text, None, or [low, high] of an interval}}]
        environment     {what: text}
        notes           [text]
        waterfall_svg   an <svg>, put into the page as it is: `currentColor`, `var(--quiet)`,
                        `var(--line)`, `var(--forward)`, `var(--backward)` and `var(--update)` suit
                        light and dark pages; its ids should begin with "waterfall"
        document        what `Function.document` gave, or None
    """
    raise NotImplementedError
