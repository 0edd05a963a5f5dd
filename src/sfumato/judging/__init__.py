"""How good a result is: features, distances between sets of pictures, memorisation."""
