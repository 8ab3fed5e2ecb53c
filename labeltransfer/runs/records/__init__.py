"""Run directories, stages' artefacts, checksums, edits: the contract between the app and the worker."""
