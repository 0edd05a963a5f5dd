"""Stable Diffusion XL: two text encoders, a pooled state of the second, and the sizes of pictures."""
