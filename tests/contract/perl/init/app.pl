# Fails while it is loaded.
use v5.36;

my $none  = 0;
my $ratio = 1 / $none;

sub handler ($event, $context) {
    return $ratio;
}

1;
