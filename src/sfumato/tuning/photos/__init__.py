"""The photos of a tuning: checked, cropped, described."""
