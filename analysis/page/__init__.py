"""A study as one HTML page that needs no network: `data` gathers, `write` writes, the rest is the page."""

from analysis.page.answers import SAMPLE_COLUMNS
from analysis.page.data import gather
from analysis.page.write import write_page

__all__ = ["SAMPLE_COLUMNS", "gather", "write_page"]
