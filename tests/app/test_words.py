"""Text from files on pages: it is shown as it is, and does nothing."""

import re

import pytest

from pages.shared.words import plain


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028", "\u2029", "  \n\n", "\x1e"])
def test_text_from_a_file_breaks_no_line(mark: str) -> None:
    assert plain(f"B cell{mark}{mark}# Big") == "B cell \\# Big"
    assert plain(f"{mark}x{mark}") == "x"


@pytest.mark.parametrize(
    "text",
    [
        *("http://evil.test/x", "https://evil.test", "HTTP://evil.test", "see www.evil.test now", "WWW.evil.test"),
        *("ada@evil.test", "xmpp:ada@evil.test", "a.b+c@evil.test", "(http://evil.test)", "http://ada@evil.test"),
    ],
)
def test_no_address_in_a_text_becomes_a_link(text: str) -> None:
    # What the page's Markdown looks for, in the text that is left once backslashes are gone.
    shown = re.sub(r"\\([!-/:-@[-`{-~])", r"\1", plain(text))
    assert not re.search(r"(?i)(https?://|www(?=\.))([-.\w]+)", shown)
    assert not re.search(r"([-.\w+]+)@([-\w]+(?:\.[-\w]+)+)", shown)
    assert shown.replace("\u2060", "") == text


@pytest.mark.parametrize("text", ["# x", "> x", "- x", "+ x", "===", "---", "1. x", "12) x", "&lt;b&gt;", "    code"])
def test_a_text_at_the_beginning_of_a_line_is_no_heading_list_quote_or_code(text: str) -> None:
    written = plain(text)
    assert not re.match(r"[#>+=-]|\d+[.)]|\s|&", written)
    assert re.sub(r"\\(.)", r"\1", written).replace("\u2060", "") == text.strip()


def test_ordinary_labels_stay_what_they_are() -> None:
    for text in ("CD4-positive, alpha-beta T cell", "3 months", "B/T (naïve)", "Ly6c2+", "17.5"):
        assert plain(text).replace("\u2060", "") == text
