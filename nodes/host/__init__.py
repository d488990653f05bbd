"""All that knows ComfyUI's tensors, hooks and versions; the nodes call it."""
