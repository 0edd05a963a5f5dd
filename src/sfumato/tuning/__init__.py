"""A LoRA from a few photos of one thing: photos, captions, training, the choice of a step, verified files."""
