"""Keep harmless tags of a notebook's HTML and show all others as text.

The policy lists what is allowed. The result is written anew from the parsed tags, so that nothing passes that the
parser reads in another way than a browser.
"""

from __future__ import annotations

import re
from html import escape
from html.parser import HTMLParser

TAGS = frozenset(
    [
        "a",
        "b",
        "blockquote",
        "br",
        "caption",
        "code",
        "dd",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
        "figure",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "i",
        "img",
        "li",
        "ol",
        "p",
        "pre",
        "small",
        "span",
        "strong",
        "sub",
        "sup",
        "table",
        "tbody",
        "td",
        "tfoot",
        "th",
        "thead",
        "tr",
        "ul",
    ]
)
VOID = frozenset({"br", "hr", "img"})
# The report's own classes for tables; others could imitate its banner.
CLASSES = frozenset({"gd", "dataframe", "num"})
OPEN_TAGS_MAX = 100
SPANS = frozenset({"colspan", "rowspan"})
LINK = re.compile(r"#|https?://", re.IGNORECASE)
IMAGE = re.compile(r"data:image/(png|jpeg|gif|svg\+xml);base64,[A-Za-z0-9+/=\s]*", re.IGNORECASE)


def safe_markup(markup: str) -> str:
    """Return markup that contains only the allowed tags and attributes."""
    writer = _Writer()
    writer.feed(markup)
    writer.close()
    return "".join([*writer.written, *(f"</{tag}>" for tag in reversed(writer.open_tags))])


class _Writer(HTMLParser):
    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.written: list[str] = []
        self.open_tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in TAGS or len(self.open_tags) >= OPEN_TAGS_MAX:
            self.handle_data(self.get_starttag_text() or f"<{tag}>")
            return
        kept = "".join(f' {name}="{escape(value)}"' for name, value in attrs if value and _is_kept(tag, name, value))
        self.written.append(f"<{tag}{kept}>")
        if tag not in VOID:
            self.open_tags.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.open_tags:
            return  # it would end an element of the report around the notebook
        while (ended := self.open_tags.pop()) != tag:
            self.written.append(f"</{ended}>")
        self.written.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.written.append(escape(data))


def _is_kept(tag: str, name: str, value: str) -> bool:
    if name == "class":
        return set(value.split()) <= CLASSES
    if tag == "a":
        return name == "href" and LINK.match(value) is not None
    if tag == "img":
        return name == "alt" or (name == "src" and IMAGE.fullmatch(value) is not None)
    return tag in ("td", "th") and name in SPANS and value.isdecimal()
