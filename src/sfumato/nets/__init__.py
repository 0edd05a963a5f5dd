"""Networks: the pixel U-Net, the small classifier used for features. Shapes only; what an output means is decided elsewhere."""
