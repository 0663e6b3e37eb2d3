"""Write what people read after a run, a suite or a power measurement: HTML pages, JUnit for CI, an index of runs."""

from kit.reports.html import write_html
from kit.reports.index import write_index
from kit.reports.junit import write_junit, write_suite_junit
from kit.reports.power import write_power_html
from kit.reports.power_markdown import write_power_markdown
from kit.reports.suite import write_suite_html

__all__ = [
    "write_html",
    "write_index",
    "write_junit",
    "write_power_html",
    "write_power_markdown",
    "write_suite_html",
    "write_suite_junit",
]
