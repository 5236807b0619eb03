"""Candidates: drawn, looked at, gated, chosen, and pooled."""
