"""A check for drift as a page."""
