"""One client for each service that this one calls."""
