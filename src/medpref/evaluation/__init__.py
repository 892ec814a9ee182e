"""Ask models, score their answers honestly, and write one log for each method and task."""
