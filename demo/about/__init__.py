"""What draws here, and the lines that repeat a picture."""
