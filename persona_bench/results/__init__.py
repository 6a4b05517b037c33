"""Results of runs, read from files: the tidy table of responses, and what is beside it."""
