# The function of the shared contract suite: what it does is said by the event's "case".
use v5.36;

use Cwd qw(getcwd);
use Time::HiRes ();

my $events = 0;

my %cases = (
    echo           => sub ($event, $) { return {echo => $event->{value}} },
    raise          => sub { die "wanted: \x{e4}" },
    log            => \&log_lines,
    large          => sub ($event, $) { return {length => length $event->{padding}, text => 'x' x $event->{bytes}} },
    context        => \&describe,
    environment    => \&environment,
    tmp            => \&tmp,
    sleep          => sub ($event, $) { Time::HiRes::sleep($event->{seconds}); return {slept => $event->{seconds}} },
    memory         => \&use_all_memory,
    exit           => sub { exit 3 },
    signal         => sub { kill SEGV => $$; sleep 1 },
    count          => sub { return {count => $events} },
    unserialisable => sub {
        return sub { }
    },
);

sub handler ($event, $context) {
    ++$events;
    my $case = $cases{$event->{case}} or die 'no such case';
    return $case->($event, $context);
}

sub log_lines ($event, $) {
    for my $line (1 .. $event->{lines}) {
        say "out $line";
        say STDERR "err $line";
    }
    return undef;
}

sub describe ($, $context) {
    my $client = $context->client_context;
    return {
        requestId       => $context->aws_request_id,
        functionName    => $context->function_name,
        functionVersion => $context->function_version,
        memory          => $context->memory_limit_in_mb,
        arn             => $context->invoked_function_arn,
        remaining       => $context->get_remaining_time_in_millis,
        logStream       => $context->log_stream_name,
        custom          => $client ? $client->{custom} : undef,
    };
}

sub environment ($, $) {
    # An environment holds bytes.
    utf8::decode(my $value = $ENV{CONTRACT_VALUE} // '');
    return {
        handler => $ENV{_HANDLER},
        region  => $ENV{AWS_REGION},
        value   => $value,
        cwd     => getcwd(),
        root    => $ENV{LAMBDA_TASK_ROOT},
    };
}

sub tmp ($, $) {
    open my $file, '>>', '/tmp/contract' or die "cannot write: $!";
    print $file 'x';
    close $file;
    return {bytes => -s '/tmp/contract'};
}

sub use_all_memory ($, $) {
    my @taken;
    push @taken, 'x' x (1 << 20) while 1;
}

1;
