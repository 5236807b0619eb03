"""Texts of records: captions, wordings in two languages, and the prompts made of them."""
