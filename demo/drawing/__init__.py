"""The process that draws, and what keeps it alive."""
