"""What is trained, how fast, and how well it does on held-out images."""
