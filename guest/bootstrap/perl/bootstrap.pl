# The Perl bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
#
# Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
# every restored VM while a caller waits, so it touches little memory and reads as few files as it can.
package SnapFaaS::Context;
use v5.36;

# What a handler gets as its second argument. Of a deployed function the environment says what the host does not.
sub new ($class, $values) {
    my $request_id = $values->{requestId} // SnapFaaS::Bootstrap::uuid();
    my $name       = $values->{functionName} // $ENV{AWS_LAMBDA_FUNCTION_NAME} // 'function';
    my $version    = $values->{functionVersion} // $ENV{AWS_LAMBDA_FUNCTION_VERSION} // '$LATEST';
    my $deadline   = $values->{deadlineMs};
    return bless {
        aws_request_id       => "$request_id",
        function_name        => "$name",
        function_version     => "$version",
        invoked_function_arn => ($values->{invokedFunctionArn} // '') . '',
        memory_limit_in_mb   => ($values->{memoryLimitInMB} // $ENV{AWS_LAMBDA_FUNCTION_MEMORY_SIZE} // '') . '',
        log_group_name       => $ENV{AWS_LAMBDA_LOG_GROUP_NAME} // "/aws/lambda/$name",
        log_stream_name      => $ENV{AWS_LAMBDA_LOG_STREAM_NAME}
            // SnapFaaS::Bootstrap::log_stream_name($version, $request_id =~ tr/-//dr),
        client_context => $values->{clientContext},
        deadline_ms    => (defined $deadline && !ref $deadline && $deadline =~ /^[0-9.eE+]+$/) ? int $deadline : 0,
    }, $class;
}

sub aws_request_id ($self)       { $self->{aws_request_id} }
sub function_name ($self)        { $self->{function_name} }
sub function_version ($self)     { $self->{function_version} }
sub invoked_function_arn ($self) { $self->{invoked_function_arn} }
sub memory_limit_in_mb ($self)   { $self->{memory_limit_in_mb} }
sub log_group_name ($self)       { $self->{log_group_name} }
sub log_stream_name ($self)      { $self->{log_stream_name} }
sub client_context ($self)       { $self->{client_context} }
sub identity ($self)             { undef }

sub get_remaining_time_in_millis ($self) {
    my $left = int($self->{deadline_ms} - Time::HiRes::time() * 1000);
    return $left > 0 ? $left : 0;
}

package SnapFaaS::Bootstrap;
use v5.36;
use utf8;

# Some of these are here for the functions' sake: what most functions use is in the snapshot already.
use Carp             ();
use Config           ();
use Cpanel::JSON::XS ();
use Cwd              ();
use Data::Dumper     ();
use Digest::MD5      ();
use Digest::SHA      ();
use Encode           ();
use Errno            qw(EINTR);
use Exporter         ();
use File::Basename   ();
use File::Path       ();
use File::Spec       ();
use File::Temp       ();
use IO::File         ();
use IO::Handle       ();
use List::Util       qw(max min);
use MIME::Base64     ();
use POSIX            ();
use Scalar::Util     qw(blessed refaddr);
use Storable         ();
use Symbol           ();
use Text::ParseWords ();
use Tie::Hash        ();
use Time::HiRes      ();
use Time::Local      ();
use constant         ();
use lib              ();
use overload         ();
use parent           ();

use constant {
    CHANNEL_FD     => 3,
    CONTROL_IN_FD  => 4,
    CONTROL_OUT_FD => 5,

    TASK_ROOT => '/srv',
    # The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to
    # run it.
    LAMBDA_TASK_ROOT => '/var/task',
    CONFIGURATION    => '.snapfaas/function.json',
    RUNTIME_FOLDER   => '/usr/lib/snapfaas',

    # src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
    MAX_FRAME_BYTES    => 6_291_556 + 64 * 1024,
    MAX_RESPONSE_BYTES => 6_291_556,
    # An error report must fit a frame whatever a function puts into it.
    MAX_MESSAGE_CHARACTERS    => 256 * 1024,
    MAX_STACK_LINES           => 100,
    MAX_STACK_LINE_CHARACTERS => 4 * 1024,
};

my @FILES    = qw(app workload);
my @HANDLERS = qw(handler handle);

# Objects answer for themselves, if they have a TO_JSON.
my $json     = Cpanel::JSON::XS->new->utf8->allow_nonref->convert_blessed->max_depth(1000);
my $ascii    = Cpanel::JSON::XS->new->ascii->allow_nonref->canonical;
my $lenient  = Cpanel::JSON::XS->new->ascii->allow_nonref->allow_unknown->allow_blessed->convert_blessed->canonical;
my $deployed = 0;

# What the last `die` was called with, and the stack that it left: it is gone by the time that the error is caught.
my ($died_with, @died_at);

# ---- the request channel: frames over a descriptor that is read and written in pieces of any size --------------------

my $channel;
my $buffer = '';

# The next (kind, payload).
sub read_frame () {
    my $end;
    while (($end = index $buffer, "\n") < 0) {
        host_sent('a frame header without an end') if length $buffer > 64;
        fill(4096);
    }
    my ($kind, $size) = substr($buffer, 0, $end + 1, '') =~ /\A([^ \n]+) ([0-9]{1,9})\n\z/a
        or host_sent('a malformed frame header');
    host_sent('a malformed frame header') if $size > MAX_FRAME_BYTES;
    fill($size - length $buffer) while length $buffer < $size;
    return ($kind, substr $buffer, 0, $size, '');
}

sub write_frame ($kind, $payload) {
    my $data = sprintf("%s %d\n", $kind, length $payload) . $payload;
    my $done = 0;
    while ($done < length $data) {
        my $written = syswrite $channel, $data, length($data) - $done, $done;
        if (defined $written) { $done += $written }
        elsif ($! != EINTR) { die "cannot write to the host: $!\n" }
    }
    return;
}

# A virtio port reads as ended while no host is connected to it; the host may come back.
sub fill ($wanted) {
    my $pause = 0.001;
    while (1) {
        my $got = sysread $channel, $buffer, min(max($wanted, 4096), 1 << 20), length $buffer;
        return if $got;
        if (defined $got) {
            Time::HiRes::sleep($pause);
            $pause = min(2 * $pause, 0.05);
        }
        elsif ($! != EINTR) { die "cannot read from the host: $!\n" }
    }
}

sub host_sent ($what) {
    say STDERR "snapfaas-bootstrap: the host sent $what";
    exit 1;
}

# ---- errors ----------------------------------------------------------------------------------------------------------

# $SIG{__DIE__}: called for every `die`, caught or not.
sub note_death ($error) {
    my @frame = caller 0;
    return if $frame[1] eq __FILE__;    # passed on from here
    $died_with = $error;
    @died_at   = ();
    for (my $level = 1; @frame && @died_at < MAX_STACK_LINES; ++$level) {
        my (undef, $file, $line) = @frame;
        last if $file eq __FILE__;
        @frame = caller $level;
        my $sub = @frame ? $frame[3] : '';
        push @died_at, "$file line $line" . ($sub && $sub !~ /^SnapFaaS::Bootstrap::|^\(eval\)/ ? ", in $sub" : '');
    }
    return;
}

# Whether `$error` is what note_death saw last.
sub is_last_death ($error) {
    return 0 unless defined $died_with;
    return ref $error && ref $died_with ? refaddr($error) == refaddr($died_with) : "$error" eq "$died_with";
}

# The error as (type, message, stack): of what was died with that is an object its class and its text.
sub explain ($error) {
    my @stack = eval { is_last_death($error) } ? @died_at : ();
    $died_with = undef;
    if (blessed $error) {
        return (ref $error, object_text($error), @stack);
    }
    return ('Error', $lenient->encode($error), @stack) if ref $error;
    my $message = decoded($error);
    # Perl's own addition to the text; it is on top of the stack.
    if ($message =~ /\A(.*) at (.+?) line ([0-9]+)(?:, <[^>]*> (?:line|chunk) [0-9]+)?\.\n\z/s) {
        $message = $1;
        @stack   = ("$2 line $3") unless @stack || $2 eq __FILE__;
    }
    chomp $message;
    return ('Error', $message, @stack);
}

sub object_text ($error) {
    my $text = eval { !overload::Method($error, '""') && $error->can('message') ? $error->message : "$error" };
    return decoded($text // '<unprintable>');
}

# Characters, also of a text that is still encoded.
sub decoded ($text) {
    $text = "$text";
    utf8::decode($text) unless utf8::is_utf8($text);
    return $text;
}

sub make_report ($type, $message, $stack = [], $request_id = '') {
    return {
        errorMessage => substr($message, 0, MAX_MESSAGE_CHARACTERS),
        errorType    => $type,
        requestId    => $request_id,
        stackTrace   => [map { substr decoded($_), 0, MAX_STACK_LINE_CHARACTERS } @$stack],
    };
}

sub report_of ($error, $request_id = '') {
    my ($type, $message, @stack) = explain($error);
    return make_report($type, $message, \@stack, $request_id);
}

# Past what the function may have done to STDOUT.
sub log_report ($report) {
    flush_output();
    my $text = "[ERROR] $report->{errorType}: $report->{errorMessage}\n";
    $text .= join '', "Stack trace:\n", map { "  $_\n" } @{$report->{stackTrace}} if @{$report->{stackTrace}};
    utf8::encode($text);
    while (length $text) {
        my $written = POSIX::write(1, $text, length $text) or last;
        substr $text, 0, $written, '';
    }
    return;
}

sub flush_output () {
    # The function may have closed them.
    no warnings;
    STDOUT->flush if defined fileno STDOUT;
    STDERR->flush if defined fileno STDERR;
    return;
}

# ---- loading ---------------------------------------------------------------------------------------------------------

# Ends the loading of the function with a report.
sub refuse ($type, $message, $stack = []) {
    die bless {report => make_report($type, $message, $stack)}, 'SnapFaaS::LoadFailure';
}

# Runs `$code`, which may refuse. (report, undef) or (undef, what it returns).
sub attempt ($code) {
    my $result;
    return (undef, $result) if eval { $result = $code->(); 1 };
    my $error = $@;
    return ($error->{report}, undef) if ref $error eq 'SnapFaaS::LoadFailure';
    return (report_of($error), undef);
}

# The function's file `$root/$name.pl` or .pm; '' if there is none.
sub file_of ($root, $name) {
    for my $suffix (qw(pl pm)) {
        return "$root/$name.$suffix" if -f "$root/$name.$suffix";
    }
    return '';
}

# Runs the file `$path`; refuses if it cannot be.
sub load_file ($path, $name) {
    # What FindBin goes by.
    $0 = $path;
    $INC{"$name.pm"} = $path;
    ($died_with, @died_at) = ();
    undef $@;
    run_file($path);
    my $error = $@;
    return unless ref $error || (defined $error && length $error);
    if (!ref $error) {
        my $text = decoded($error);
        chomp $text;
        refuse('Runtime.ImportModuleError', "Unable to import module '$name': $text", \@died_at)
            if $text =~ /^Can't locate \S+\.p[lmh] in \@INC|^Can't locate loadable object/;
        refuse('Runtime.UserCodeSyntaxError', "Syntax error in module '$name': $text") if is_syntax_error($text);
    }
    die $error;
}

# What cannot be parsed is told from what dies by the handler of `die`, which is called for the latter first.
sub is_syntax_error ($text) {
    return $text =~ /^(?:syntax error|Missing right|Global symbol|Bareword|Can't find string terminator|Unmatched)/
        || $text =~ /had compilation errors|^.* at .* line [0-9]+, near /m
        || $text =~ /^Unrecognized character|^Not enough arguments for|^Too many arguments for/;
}

# Found in the package of the file's name or in main.
sub find_sub ($path, $name, $sub) {
    return defined &{\&{$sub}} ? \&{$sub} : undef if $sub =~ /::/;
    my @packages = ($name =~ s{/}{::}gr, 'main');
    @packages = reverse @packages if $path =~ /\.pl\z/;
    for my $package (@packages) {
        my $code = $package->can($sub);
        return $code if $code;
    }
    return undef;
}

# How a deployed function is to be run; undef of a mere folder.
sub read_configuration () {
    my $path = TASK_ROOT . '/' . CONFIGURATION;
    return undef unless -e $path;
    my $configuration = eval {
        open my $file, '<:raw', $path or die "$!\n";
        local $/ = undef;
        $json->decode(scalar <$file>);
    };
    refuse('Runtime.InitError', CONFIGURATION . ' cannot be read: ' . (explain($@))[1]) if $@;
    return $configuration
        if ref $configuration eq 'HASH' && defined $configuration->{handler} && is_string($configuration->{handler});
    refuse('Runtime.InitError', CONFIGURATION . ' names no handler');
}

# Of a value from JSON.
sub is_string ($value) {
    return !ref $value && $ascii->encode($value) =~ /^"/;
}

sub load_deployed ($configuration) {
    set_up_environment($configuration);
    $deployed = 1;
    s{^@{[TASK_ROOT]}(?=/|\z)}{@{[LAMBDA_TASK_ROOT]}} for @INC;
    add_libraries(LAMBDA_TASK_ROOT);
    chdir LAMBDA_TASK_ROOT;
    return configured_handler($configuration->{handler});
}

sub load_folder () {
    add_libraries(TASK_ROOT);
    chdir TASK_ROOT;
    my ($name) = grep { file_of(TASK_ROOT, $_) } @FILES
        or refuse('Runtime.ImportModuleError', 'Unable to import module: no app.pl, app.pm or workload.pl, .pm');
    my $path = file_of(TASK_ROOT, $name);
    load_file($path, $name);
    for my $sub (@HANDLERS) {
        my $code = find_sub($path, $name, $sub);
        return $code if $code;
    }
    refuse('Runtime.HandlerNotFound', "Module '$name' has neither a sub handler nor a sub handle");
}

# `file.sub`, or `file.Package::sub`.
sub configured_handler ($handler) {
    my ($name, $sub) = $handler =~ /\A(.+)\.([^.]+)\z/s
        or refuse('Runtime.MalformedHandlerName', "Bad handler '$handler': it must be FILE.SUB or FILE.PACKAGE::SUB");
    my $path = file_of(LAMBDA_TASK_ROOT, $name)
        or refuse('Runtime.ImportModuleError', "Unable to import module '$name': no $name.pl and no $name.pm");
    load_file($path, $name);
    return find_sub($path, $name, $sub)
        // refuse('Runtime.HandlerNotFound', "Handler '$sub' missing on module '$name'");
}

# Where a function's own modules may be, beside its folder and its package/.
sub add_libraries ($root) {
    lib->import(grep { -d } split(/:/, $ENV{PERL5LIB} // ''), "$root/lib", "$root/local/lib/perl5");
    return;
}

sub set_up_environment ($configuration) {
    my $name   = $configuration->{functionName} || 'function';
    my $region = $configuration->{region}       || 'us-east-1';
    my %values = (
        _HANDLER                        => $configuration->{handler},
        AWS_DEFAULT_REGION              => $region,
        AWS_EXECUTION_ENV               => sprintf('AWS_Lambda_perl%vd', $^V) =~ s/\.[0-9]+\z//r,
        AWS_LAMBDA_FUNCTION_MEMORY_SIZE => $configuration->{memorySize} // '',
        AWS_LAMBDA_FUNCTION_NAME        => $name,
        AWS_LAMBDA_FUNCTION_VERSION     => $configuration->{functionVersion} || '$LATEST',
        AWS_LAMBDA_LOG_GROUP_NAME       => "/aws/lambda/$name",
        AWS_REGION                      => $region,
        LAMBDA_RUNTIME_DIR              => RUNTIME_FOLDER,
        LAMBDA_TASK_ROOT                => LAMBDA_TASK_ROOT,
        TZ                              => ':UTC',
    );
    set_variable($_, $values{$_}) for keys %values;
    renew_log_stream_name();
    # The function's own go last, so that it may have another time zone.
    my $environment = $configuration->{environment};
    return unless ref $environment eq 'HASH';
    for my $variable (keys %$environment) {
        my $value = $environment->{$variable};
        refuse('Runtime.InitError', "an environment variable cannot be set: $variable is not a string")
            unless defined $value && is_string($value);
        set_variable($variable, $value);
    }
    POSIX::tzset() if $ENV{TZ} ne ':UTC';
    return;
}

# An environment holds bytes.
sub set_variable ($name, $value) {
    utf8::encode($name);
    utf8::encode($value);
    $ENV{$name} = $value;
    return;
}

# One for each microVM, as one snapshot gives many.
sub renew_log_stream_name () {
    $ENV{AWS_LAMBDA_LOG_STREAM_NAME} =
        log_stream_name($ENV{AWS_LAMBDA_FUNCTION_VERSION} // '$LATEST', uuid() =~ tr/-//dr);
    return;
}

sub log_stream_name ($version, $unique) {
    return POSIX::strftime('%Y/%m/%d', gmtime) . "/[$version]$unique";
}

# Drawn from the kernel.
sub uuid () {
    no warnings 'io';    # where the function has closed one of the standard descriptors
    open my $random, '<:raw', '/dev/urandom' or die "cannot open /dev/urandom: $!\n";
    sysread $random, my $bytes, 16;
    vec($bytes, 6, 8) = vec($bytes, 6, 8) & 0x0f | 0x40;
    vec($bytes, 8, 8) = vec($bytes, 8, 8) & 0x3f | 0x80;
    return join '-', unpack 'H8 H4 H4 H4 H12', $bytes;
}

# Every generator that was seeded in the snapshot would give the same numbers in each VM restored from it. Perl's own
# takes 32 bits of seed.
sub reseed ($seed) {
    srand unpack 'N', Digest::SHA::sha256(pack 'H*', $seed);
    Net::SSLeay::RAND_seed(uuid() . uuid()) if defined &Net::SSLeay::RAND_seed;
    return;
}

# The sub that answers events, after the agent's `$command`. Refuses.
sub load_function ($command) {
    my ($word, $argument) = split / /, $command, 2;
    refuse('Runtime.InitError', decoded($argument)) if $word eq 'fail';
    agent_said($command) if $word ne 'load';
    my ($seed, $snapshot) = split / /, $argument, 2;
    $ENV{AWS_LAMBDA_INITIALIZATION_TYPE} = $snapshot ? 'snap-start' : 'on-demand';
    # Like the clock, which was set meanwhile: what -M and its kind go by.
    $^T = time;
    reseed($seed);
    my $configuration = read_configuration();
    my $handler       = $configuration ? load_deployed($configuration) : load_folder();
    SnapStart::run_before_snapshot() if $snapshot;
    return $handler;
}

# Behind the function snapshot.
sub resume ($command) {
    my ($word, $seed) = split / /, $command, 2;
    agent_said($command) if $word ne 'resume';
    $^T = time;
    reseed($seed);
    renew_log_stream_name() if $deployed;
    SnapStart::run_after_restore();
    return;
}

# Tells the host that the function is of no use; what answers every event from then on.
sub report_failure ($report) {
    my $failure = encode_report($report);
    log_report($report) if $deployed;
    flush_output();
    write_frame('init-error', $failure);
    return sub { return ('error', $failure) };
}

# ---- requests --------------------------------------------------------------------------------------------------------

sub encode_report ($report) {
    return $ascii->encode($report);
}

# Runs one event; the (kind, payload) to send back.
sub answer ($handler, $payload, $values) {
    my $context    = SnapFaaS::Context->new($values);
    my $request_id = $context->{aws_request_id};
    my $event      = eval { $json->decode($payload) };
    if ($@) {
        return failed(make_report('Runtime.UnmarshalError', 'Event is not JSON: ' . (explain($@))[1], [], $request_id));
    }
    my $response;
    if (!eval { $response = $handler->($event, $context); 1 }) {
        return failed(report_of($@, $request_id));
    }
    my $data = eval { $json->encode($response) };
    if (!defined $data) {
        my $message = 'Unable to marshal response: ' . (explain($@))[1];
        return failed(make_report('Runtime.MarshalError', $message, [], $request_id));
    }
    return ('result', $data) if length $data <= MAX_RESPONSE_BYTES;
    my $message = sprintf 'Response payload size (%d bytes) exceeded maximum allowed payload size (%d bytes).',
        length $data, MAX_RESPONSE_BYTES;
    return failed(make_report('Function.ResponseSizeTooLarge', $message, [], $request_id));
}

sub failed ($report) {
    log_report($report) if $deployed;
    return ('error', encode_report($report));
}

# Answers events for ever. `$respond` is called with (payload, context values).
sub serve ($respond) {
    my $values = {};
    while (1) {
        my ($kind, $payload) = read_frame();
        if ($kind eq 'context') {
            $values = eval { $json->decode($payload) };
            host_sent('a context that is not JSON') if $@;
            $values = {} unless ref $values eq 'HASH';
        }
        elsif ($kind eq 'event') {
            my @reply = $respond->($payload, $values);
            flush_output();
            write_frame(@reply);
        }
        else { host_sent('a frame of unknown kind \'' . substr($kind, 0, 40) . '\'') }
    }
}

# ---- before the snapshot ---------------------------------------------------------------------------------------------

# Runs the code of a first request once, so that its pages and caches are in the snapshot.
sub warm_up () {
    my $name = 'SnapFaaS/WarmUp';
    load_file(RUNTIME_FOLDER . '/warm.pl', $name);
    my $handler = find_sub('warm.pm', $name, 'handler');
    my $values  = {functionName => 'f', requestId => 'r', deadlineMs => 1e13, memoryLimitInMB => 128};
    my $event   = '{"list": [1, 2.5, null, true], "text": "\u00e4", "nested": {"a": {}}';
    answer($handler, "$event$_}", $values) for '', ', "log": 1', ', "fail": 1', ', "stray": 1';
    answer($handler, 'not json', $values);
    attempt(sub { load_file(TASK_ROOT . '/no-such-file.pl', 'no-such-file') });
    reseed('00' x 32);
    log_stream_name('1', uuid());
    flush_output();
    # As if it had never been.
    Symbol::delete_package('SnapFaaS::WarmUp');
    delete @INC{"$name.pm", 'no-such-file.pm', RUNTIME_FOLDER . '/warm.pl'};
    return;
}

sub set_up () {
    STDOUT->autoflush(1);
    STDERR->autoflush(1);
    unshift @INC, TASK_ROOT;
    # The last are where `dpkg -x some.deb package` puts Debian's libraries.
    my ($version) = sprintf('%vd', $^V) =~ /^([0-9]+\.[0-9]+)/;
    push @INC, map { TASK_ROOT . "/package$_" } '', '/usr/share/perl5', "/usr/lib/x86_64-linux-gnu/perl5/$version";
    push @INC, RUNTIME_FOLDER;
    require SnapStart;
    $SIG{__DIE__} = \&note_death;
    return;
}

# ---- the agent -------------------------------------------------------------------------------------------------------

my ($control_in, $control_out);

sub hear () {
    # The agent says nothing more before it has its answer.
    my $line = '';
    while ($line !~ /\n\z/) {
        next if sysread $control_in, $line, 256, length $line;
        say STDERR 'the agent is gone';
        exit 1;
    }
    chomp $line;
    return $line;
}

sub answer_agent ($text) {
    syswrite $control_out, "$text\n";
    return;
}

sub agent_said ($command) {
    say STDERR 'the agent said \'' . substr($command, 0, 80) . '\'';
    exit 1;
}

# ----------------------------------------------------------------------------------------------------------------------

# What answers events: the function, or its failure to load.
sub start () {
    my $command = hear();
    my ($failure, $handler) = attempt(sub { load_function($command) });
    if ($failure) {
        my $respond = report_failure($failure);
        answer_agent('failed');
        return $respond;
    }
    flush_output();
    answer_agent('loaded');
    if ($command =~ / checkpoint\z/) {
        my $next = hear();
        ($failure) = attempt(sub { resume($next) });
        return report_failure($failure) if $failure;
    }
    return sub ($payload, $values) { return answer($handler, $payload, $values) };
}

sub main () {
    open $channel,     '+<&=', CHANNEL_FD     or die "the request channel: $!\n";
    open $control_in,  '<&=',  CONTROL_IN_FD  or die "the agent's pipe: $!\n";
    open $control_out, '>&=',  CONTROL_OUT_FD or die "the pipe to the agent: $!\n";
    binmode $_ for $channel, $control_in, $control_out;
    set_up();
    warm_up();
    answer_agent('ready');
    serve(start());
    return;
}

# A file that says nothing else is of the package that it is run from.
package main;
sub SnapFaaS::Bootstrap::run_file { return do $_[0] }

SnapFaaS::Bootstrap::main();
