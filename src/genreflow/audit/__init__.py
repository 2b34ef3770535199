"""The audit: which tracks are faulty, which of them are left out, and which are one recording."""
