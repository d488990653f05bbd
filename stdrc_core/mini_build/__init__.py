"""Makes the miniature: its clips on disk, its face pack, its VAE and its weights."""
