"""What every page must be: whole, and without a word to the network."""

import html.parser
import re


class Page(html.parser.HTMLParser):
    """Collects tags, attributes and text, and that every tag is closed in order."""

    VOID = frozenset({"meta", "link", "br", "img", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


FETCHING = {"script", "iframe", "img", "object", "embed", "video", "audio", "base", "form", "image"}


def assert_inert(text):
    """Well-formed; nothing runs, and nothing is asked of any other place."""
    found = Page(text)
    assert found.open == []
    assert not FETCHING & set(found.tags)
    for key, value in found.attributes:
        assert not key.startswith("on")
        if key in ("src", "srcset", "href", "xlink:href", "action", "data", "poster"):
            assert value.startswith(("#", "data:"))
        if key == "http-equiv":
            assert value == "Content-Security-Policy"
    assert not re.search(r"@import|url\((?![#'\"]?#)", text)
    assert ("name", "viewport") in found.attributes
    policies = [v for k, v in found.attributes if k == "content" and "-src" in v]
    assert policies == ["default-src 'none'; style-src 'unsafe-inline'; img-src data:"]
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text
