"""Build, read, check and write preference pairs: the first stage of the pipeline."""
