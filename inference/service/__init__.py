"""The image service: OpenAI's images API over one generator."""
