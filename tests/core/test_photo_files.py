"""Photo files as people have them, written by Pillow: what `load_photo` makes of each."""
