"""`vesalius explain`: which region answered which word, and which spoke for a finding."""
