"""How far samples are from real images, and how much of them they reach."""
