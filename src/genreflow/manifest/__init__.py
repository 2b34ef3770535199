"""The manifest: the tracks of a dataset, their metadata, and the groups that a split must keep together."""
