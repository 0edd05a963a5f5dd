"""Networks: the pixel U-Nets, and the small classifier used for features. `diffusion` defines what an output means."""
