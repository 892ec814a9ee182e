"""What a training step costs, in seconds and memory, against TRL and against the study's own scheme."""
