"""The page's tabs, one module each: `WORDS`, what it says in each language, and `build`, which lays it out."""
