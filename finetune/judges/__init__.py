"""The networks that look at pictures, trained: judge, witness, phantom reader."""
