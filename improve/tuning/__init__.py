"""Direct reward fine-tuning: a few-step sampler learns from what its drawings show."""
