"""Where samples go: each file whole or not at all, each with its recipe."""
