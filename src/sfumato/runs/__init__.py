"""Run folders: recipe, log, checkpoints; a lock for one process at a time, and the signals that stop it."""
