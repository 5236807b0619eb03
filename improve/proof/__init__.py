"""Is the loop worth it, and do its gates find planted faults?"""
