"""The paper as code, in torch alone: each equation in the file of its name."""
