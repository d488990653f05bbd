"""`python -m stdrc_core.generate`: a photo and a prompt to a clip, without ComfyUI."""
