"""Drawn scenes of emoji: things, backgrounds, sizes, places and pairs, which can be read from a picture exactly."""
