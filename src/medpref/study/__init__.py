"""A study: one YAML file, a graph of resumable stages, and a folder with the results."""
