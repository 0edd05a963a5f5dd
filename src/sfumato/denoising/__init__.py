"""Noise removed from pictures of any size: tiles, noise estimates, saturation correction, posterior samples, photo files."""
