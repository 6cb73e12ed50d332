"""Numbers that several folders share."""

# What integer and bigint columns hold.
MAX_INTEGER = 2**31 - 1
MAX_BIGINT = 2**63 - 1
MAX_EMAIL_CHARACTERS = 320
# Of the payloads of events in an answer.
MAX_PAYLOAD_BYTES = 16 * 1024 * 1024
# Requests that wait for other services at once.
MAX_WAITING = 1000
