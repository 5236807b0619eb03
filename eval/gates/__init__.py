"""Why a sample is refused: scores, and limits that held-out real images set."""
