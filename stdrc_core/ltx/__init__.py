"""LTX's networks and files: transformer, VAE, text encoder, checkpoints, LoRAs and metadata."""
