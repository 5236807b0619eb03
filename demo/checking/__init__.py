"""Whether a picture shows what was asked for, as the networks of this package see it."""
