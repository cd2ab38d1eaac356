"""Pages and pictures that show what was compiled."""

from staticnet.report.document import document, graph_document
from staticnet.report.page import comparison_page, document_page, graph_html

__all__ = ["comparison_page", "document", "document_page", "graph_document", "graph_html"]
