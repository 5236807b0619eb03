"""`vesalius plan`: memory, hours and money of a run before anyone pays."""
