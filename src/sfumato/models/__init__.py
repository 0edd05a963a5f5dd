"""Trained models as objects, and the names by which they are loaded."""
