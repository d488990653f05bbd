"""The only rooms that know ComfyUI's tensors and hooks."""
