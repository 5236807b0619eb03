"""What a machine can, what a computation costs, and where weights wait."""
