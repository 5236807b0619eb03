"""`vesalius readers`: blinded studies, from their page to their scores."""
