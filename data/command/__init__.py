"""What every verb shares: recipes, fields, progress, worker processes, how a line ends, pages for people."""
