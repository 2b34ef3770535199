"""What a bundle costs to serve: its latency, and the memory of the real service."""
