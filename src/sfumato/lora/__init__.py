"""LoRA files: read, written, added to a base, merged and verified."""
