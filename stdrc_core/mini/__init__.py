"""The miniature world: an LTX-2.3 small enough to run anywhere, through all of the real code."""
