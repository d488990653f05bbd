"""Find, align and embed faces: InsightFace, and the same ArcFace as a torch module."""
