"""Recipes: their sections, how they are read, and the ones that come with sfumato."""
