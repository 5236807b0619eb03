"""`vesalius data build`: sources of any known kind -> one checked dataset folder, resumable."""
