"""Pages and plots for people; drawing only, on plain data."""
