"""What leaves a finished run: files, report, zip."""
