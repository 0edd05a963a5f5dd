"""Run folders: recipe, log, checkpoints; one process at a time, and what stops it."""
