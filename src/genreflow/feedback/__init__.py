"""What listeners say about answers of the service: records of predictions, claims about them, and their review."""
