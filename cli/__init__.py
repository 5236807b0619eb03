"""The command line: one command, `vesalius`, one verb per stage."""
