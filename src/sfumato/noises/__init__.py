"""Noise as photos have it, drawn for whole batches on the device of the pictures; no learning, no files."""
