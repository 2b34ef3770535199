"""What a bundle costs where it is served: latency and memory of the real service."""
