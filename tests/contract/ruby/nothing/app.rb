# Loads, and has no handler.
ANSWER = 42
