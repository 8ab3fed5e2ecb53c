"""Servers, fakes and builders that tests and benchmarks share."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
"""The checkout."""

SHARED_DATA = ROOT.parent / "shared" / "data"
"""Real inputs, next to the checkout and no part of it."""
