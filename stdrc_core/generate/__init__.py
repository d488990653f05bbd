"""From a photo and a prompt to a clip, without ComfyUI: the command, and the pipeline behind it."""
