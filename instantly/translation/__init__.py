"""Our words ↔ Instantly's: campaigns, bodies, time zones, events."""
