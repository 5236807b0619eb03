"""Pixels: files to arrays and back, and what can be told of an image by itself."""
