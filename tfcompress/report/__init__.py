"""Writes results as JSON, Markdown, HTML, CSV, plots and tables."""

from tfcompress.report.headline import headline
from tfcompress.report.layer_costs import per_layer
from tfcompress.report.result import FileResult, RunResult
from tfcompress.report.table import console_table
from tfcompress.report.write import OUTPUTS, write_all

__all__ = [
    "OUTPUTS",
    "FileResult",
    "RunResult",
    "console_table",
    "headline",
    "per_layer",
    "write_all",
]
