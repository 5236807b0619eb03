"""A generation run: its shards, the processes that draw them, and what is whole so far."""
