"""The only forward pass: log-probs of the cells that an objective names."""
