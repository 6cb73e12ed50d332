"""What every request goes through, and what views work with."""
