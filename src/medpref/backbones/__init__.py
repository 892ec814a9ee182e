"""Vision-language models: load, encode prompts and images, generate."""
