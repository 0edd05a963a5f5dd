"""How good a model is: features, distances between sets of pictures, near-copies, PSNR and SSIM, reports."""
