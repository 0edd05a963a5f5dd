"""A drawn world of emoji: real words, backgrounds, sizes, places and pairs, where a picture can be checked exactly."""
