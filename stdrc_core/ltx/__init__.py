"""LTX's files and networks: checkpoints, transformer, VAE, text, LoRAs and what their metadata say."""
