"""One thing changed, step by step, and the values that the viewer shows."""
