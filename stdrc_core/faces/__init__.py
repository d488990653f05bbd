"""Finds, aligns and embeds faces, by InsightFace and by the same ArcFace as a torch module."""
