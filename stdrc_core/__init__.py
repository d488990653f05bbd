"""The ST-DRC method in pure PyTorch (arXiv 2606.02441); knows nothing of ComfyUI."""
