"""Data sets that can be fetched from elsewhere, whole or in parts."""
