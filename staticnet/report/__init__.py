"""Pages that show what was compiled."""

from staticnet.report.graph_page import graph_html

__all__ = ["graph_html"]
