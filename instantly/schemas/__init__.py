"""What the routes accept: camelCase on the wire, snake_case (Instantly's own names) inside."""
