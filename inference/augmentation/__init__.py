"""`vesalius augment`: a dataset with synthetic training records, more of what is rare."""
