"""What stands before every route: logins, sizes, origins, patience."""
