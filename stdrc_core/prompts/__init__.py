"""Decoupled prompts (IPVG-STD): one of what stands still, for a first frame, and one of what moves.

docs/method.md section 8 has the method.
"""
