"""Does this machine run this study with this model? Looked at before hours are spent on it."""
