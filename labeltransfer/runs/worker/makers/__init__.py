"""What makes each stage's artefact, one maker a file; imported by ``worker.registry`` alone, when a stage is made."""
