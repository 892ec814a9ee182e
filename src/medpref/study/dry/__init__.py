"""What a dry run is made of: sampled data, models without weights, laid-out passes, and estimates."""
