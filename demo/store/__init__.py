"""What the demo keeps, beyond tab and server: one SQLite file, and the pictures beside it."""
