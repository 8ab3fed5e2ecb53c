"""What the manual's page on servers gives to copy, for tests that use it."""

from tests.support import ROOT


def block(language: str) -> str:
    """The first block of that page in a language."""
    text = (ROOT / "docs" / "server.md").read_text()
    return text.split(f"```{language}\n", 1)[1].split("```", 1)[0]


def replaced(text: str, changes: dict[str, str]) -> str:
    """A text with each of some parts replaced, every one of which it has to hold."""
    for part, other in changes.items():
        assert part in text, f"the manual no longer says {part}"
        text = text.replace(part, other)
    return text
