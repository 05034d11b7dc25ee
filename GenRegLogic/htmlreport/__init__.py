"""The report page of a registration: self-contained HTML with verdict, figures, pictures and provenance."""

from .page import build_html, write_html
from .reports import check_report, measured_report, read_report

__all__ = ["build_html", "check_report", "measured_report", "read_report", "write_html"]
