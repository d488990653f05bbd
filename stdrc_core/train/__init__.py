"""Training of ST-DRC weights: a dataset becomes a cache, a run trains on it, weights come out."""
