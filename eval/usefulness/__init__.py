"""`vesalius usefulness`: do samples help to train a classifier?"""
