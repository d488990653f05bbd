"""The experiments on the miniature: every table and picture that the docs show."""
