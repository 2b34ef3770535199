"""The comparison of two registered models as a page."""
