"""The HTML reports that the commands write: their parts and their style."""
