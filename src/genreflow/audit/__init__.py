"""The audit: faulty tracks, which of them are left out, and which tracks are the same recording."""
