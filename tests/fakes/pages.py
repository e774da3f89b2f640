"""Reads an HTML page as a browser would, to check what it holds."""

from __future__ import annotations

from html.parser import HTMLParser

_VOID = {"meta", "img", "br"}


class Page(HTMLParser):
    """What a reader of a page sees; asserts that its tags close and that it loads nothing.

    Attributes:
        images: attributes of each.
        links: targets of links and images.
        ids: anchors.
        words: its text, each run of white space a space.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self._open: list[str] = []
        self.images: list[dict[str, str]] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self._text: list[str] = []
        self.feed(text)
        assert self._open == []
        assert all(link.startswith(("data:image/", "#")) for link in self.links)
        assert "url(" not in text and "@import" not in text
        self.words = " ".join("".join(self._text).split())

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        assert tag not in ("script", "link", "iframe")
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "img":
            assert attributes.get("alt")
            self.images.append(attributes)
        self.links += [attributes[name] for name in ("href", "src", "srcset") if name in attributes]
        self.ids.add(attributes.get("id"))

    def handle_endtag(self, tag):
        assert self._open.pop() == tag

    def handle_data(self, data):
        if "style" not in self._open:
            self._text.append(data)
