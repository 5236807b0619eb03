"""Findings read from free reports, English and Chinese, by rules."""
