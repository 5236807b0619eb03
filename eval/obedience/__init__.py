"""Does a picture show what its prompt says?"""
