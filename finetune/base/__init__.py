"""A base trained from scratch: text encoder, autoencoder, denoiser."""
