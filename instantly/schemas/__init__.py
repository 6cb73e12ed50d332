"""What the routes accept (camelCase on the wire, snake_case inside), and what they answer."""
