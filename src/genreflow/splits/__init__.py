"""Splits: which tracks train, which validate, which test, and how much of one part stands in another."""
