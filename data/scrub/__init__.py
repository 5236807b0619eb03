"""Texts without what names a person."""
