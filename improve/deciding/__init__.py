"""What a round is worth, and whether it is promoted."""
