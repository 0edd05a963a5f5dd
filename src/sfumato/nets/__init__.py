"""Networks: the pixel U-Net, the small classifier used for features. What an output means is decided elsewhere."""
