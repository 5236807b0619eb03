"""The rounds of loops, read and decided on."""
