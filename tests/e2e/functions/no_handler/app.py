"""Has nothing that could be called."""

value = 1
