"""Noise removed from pictures of any size: tiles, noise estimates, clipped noise, posterior samples, photo files."""
