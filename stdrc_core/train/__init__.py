"""Training of ST-DRC weights: prepare a cache, run, validate, export."""
