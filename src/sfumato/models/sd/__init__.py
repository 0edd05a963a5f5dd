"""Stable Diffusion 1 and 2, and models of the same format: networks, prompts, folders, single files."""
