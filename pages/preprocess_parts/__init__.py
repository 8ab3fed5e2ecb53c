"""What Preprocess alone shows."""
