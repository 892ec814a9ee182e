"""One trainer for every objective, on transformers' Trainer."""
