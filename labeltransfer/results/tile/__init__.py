"""What lies behind one tile of the confusion matrix."""
