"""Phantoms: images drawn from known findings, with reports and masks."""
