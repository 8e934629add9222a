use v5.36;

sub handler ($event, $context) {
    return $event->{;
}

1;
