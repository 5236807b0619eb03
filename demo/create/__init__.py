"""What can be asked for, and the settings of an order."""
