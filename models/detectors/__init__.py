"""Detectors: feature networks over which sets of pictures are compared."""
