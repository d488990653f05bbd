"""The paper's equations, in torch alone. Each file is named after the part that it holds."""
