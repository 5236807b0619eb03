"""Everything that can be measured of a base: its scorecard, its gallery."""
