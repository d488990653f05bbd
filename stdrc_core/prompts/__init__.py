"""Decoupled prompts (IPVG-STD): what stands still for a first frame, what moves for its clip."""
