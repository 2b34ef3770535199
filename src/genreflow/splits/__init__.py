"""Train, validation and test splits: artist-disjoint by default, with a report on leakage."""
