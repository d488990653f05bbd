"""A run whose numbers left the finite ones."""


class DivergedError(RuntimeError):
    """A loss or a gradient is not finite; weights and checkpoints are those of the step before."""
