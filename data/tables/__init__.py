"""Rows of tables: their columns, labels and images, and published datasets known by them."""
