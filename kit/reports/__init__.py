"""What people read after a run: a self-contained HTML page, JUnit for CI, an index of runs."""

from kit.reports.html import write_html
from kit.reports.index import write_index
from kit.reports.junit import write_junit

__all__ = ["write_html", "write_index", "write_junit"]
