"""Where a loop stands, as page, lines and JSON."""
