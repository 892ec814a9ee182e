"""What recipes ask of language models behind an endpoint: prompts, checked replies, costs and a cache."""
