"""Drawing of many steps distilled into an adapter of few."""
