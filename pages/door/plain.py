"""Text from files and people, let onto a page as it is: none of it is read as Markdown."""

import re

from labeltransfer.storage.records import printable

_BREAKS = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
_BLOCK_STARTS = re.compile(r"^([-+=]|\d{1,9}(?=[.)]))")
_ADDRESSES = re.compile(r"(?i)(?<=http)(?=s?://)|(?<=www)(?=\.)|(?<=@)")
_NOTHING = "\u2060"
"""A word joiner: it is not seen, and no address goes on behind it. A backslash would not do: addresses are looked for
once backslashes are gone."""


def plain(text: str) -> str:
    """Text from a file as it is, on one line: none of it is read as Markdown, and no address in it becomes a link."""
    text = printable(_BREAKS.sub(" ", text).strip())  # a name that is no UTF-8 would end the page
    text = _ADDRESSES.sub(_NOTHING, text)
    escaped = "".join("\\" + c if c in "\\`*_[]<>$:~|&#" else c for c in text)
    return _BLOCK_STARTS.sub(lambda found: _block_start(found[0]), escaped)


def _block_start(mark: str) -> str:
    """The same mark at the beginning of a line, where it would make a list or a heading."""
    return mark + _NOTHING if mark.isdigit() else "\\" + mark
