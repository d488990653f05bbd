"""What several tests need: small worlds, tiny networks, our commands, and the user's ComfyUI."""

from pathlib import Path

PROJECT = Path(__file__).parents[2]
