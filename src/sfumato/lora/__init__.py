"""LoRA files: read, written, laid over a base, merged and proven."""
