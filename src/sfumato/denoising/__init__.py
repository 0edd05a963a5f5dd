"""Noisy pictures made clean: tiles, noise estimates, saturation, posterior samples, photos of any kind."""
