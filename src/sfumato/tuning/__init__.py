"""A few photos of one thing, and a text-to-image model that learns it."""
