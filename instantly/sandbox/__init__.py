"""Local stand-ins for Instantly, key-service and runs-service, and what plays campaigns on them."""
