"""Trained models as objects, and by what names they are found."""
