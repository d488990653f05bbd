"""`python -m stdrc_core.evaluate`: the paper's measures for any folder of clips."""
