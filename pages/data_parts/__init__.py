"""What Data alone shows."""
