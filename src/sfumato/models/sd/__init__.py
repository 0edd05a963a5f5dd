"""Text-to-image models in the format of Stable Diffusion: prompts, models, folders."""
