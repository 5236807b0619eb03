"""The blinded queue of pictures to be rated, and what ratings come to."""
