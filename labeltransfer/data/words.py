"""Words for numbers."""


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 cell", "1,200 cells"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"
