"""People in the loop: ratings, their agreement, reviews, preferences."""
