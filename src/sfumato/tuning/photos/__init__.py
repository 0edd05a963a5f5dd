"""The photos of a tuning: looked at, cropped, described."""
