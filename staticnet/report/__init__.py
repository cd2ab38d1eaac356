"""Pages and pictures that show what was compiled."""

from staticnet.report.document import document, graph_document
from staticnet.report.page import comparison_page, document_page, graph_html
from staticnet.report.predictions import class_accuracy, predictions_page, shown_share

__all__ = [
    "class_accuracy",
    "comparison_page",
    "document",
    "document_page",
    "graph_document",
    "graph_html",
    "predictions_page",
    "shown_share",
]
