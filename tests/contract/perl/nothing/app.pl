# Loads, and has no handler.
use v5.36;

our $answer = 42;

1;
