"""What References alone shows."""
