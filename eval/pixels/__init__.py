"""Noise, intensities and stain of sets, and pictures beside those that they should be."""
