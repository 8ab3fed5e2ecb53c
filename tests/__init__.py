"""Tests, by the rooms of what they test."""
