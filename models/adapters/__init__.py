"""Adapter folders: read, checked, exported, blended, and baked into a base."""
