"""Drawing: requests to pixels, within a budget of memory."""
