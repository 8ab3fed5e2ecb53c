"""The pages of the app: one step, one script."""
