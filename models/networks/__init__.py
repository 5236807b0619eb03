"""The networks that look at pictures: judge, witness and phantom reader."""
