"""The report on an audit, as one HTML page."""
