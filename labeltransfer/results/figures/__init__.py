"""Charts from data frames."""
