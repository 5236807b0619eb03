"""What each step sees: records, latents, texts and views, as pure functions of the step."""
