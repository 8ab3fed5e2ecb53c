"""From predictions to answers: pure functions over arrays and data frames, which write nothing into runs."""
