"""Scores of a tuning's checkpoints, and the choice of one."""
