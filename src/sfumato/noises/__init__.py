"""Noise as photos have it, drawn for whole batches on the device where the pictures are; no learning, no files."""
