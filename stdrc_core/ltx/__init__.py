"""LTX's files and networks: checkpoints, transformer, VAE, text encoder, LoRAs, their metadata."""
