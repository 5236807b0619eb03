"""`vesalius data check`: whether a dataset folder is what it says."""
