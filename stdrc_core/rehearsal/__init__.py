"""Runs code on tensors that have sizes and no numbers, and tells what memory it would take."""
