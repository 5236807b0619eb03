"""`vesalius cloud render`: a recipe -> a task file for rented GPUs."""
