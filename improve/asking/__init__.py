"""What a round asks for: prompts, their strata and shares, and the hard ones that measure."""
