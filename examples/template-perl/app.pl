# Fills the letters in templates/ with Debian's Text::Template: {"template": "invoice", "values": {...}} gives the text.
use v5.36;
use utf8;

use Encode ();
use List::Util qw(sum0);
use Text::Template;

my %templates;

# Once, when the function is loaded: a snapshot of it holds them ready.
for my $path (glob "$ENV{LAMBDA_TASK_ROOT}/templates/*.txt") {
    open my $file, '<:encoding(UTF-8)', $path or die "cannot open $path: $!";
    my $source   = do { local $/ = undef; <$file> };
    my $template = Text::Template->new(TYPE => 'STRING', SOURCE => $source, DELIMITERS => ['{{', '}}']);
    $template->compile or die "$path: $Text::Template::ERROR";
    my ($name) = $path =~ m{([^/]+)\.txt\z};
    $templates{$name} = $template;
}

sub handler ($event, $context) {
    my $name     = $event->{template} // 'none';
    my $template = $templates{$name} or die "no such template: $name";
    my $values   = $event->{values} // {};
    my $text     = $template->fill_in(
        HASH   => [{items => []}, $values, {money => \&money, sum => \&sum_of}],
        BROKEN => sub (%problem) { die "template $name, line $problem{lineno}: $problem{error}" },
    );
    return {text => $text, lines => scalar(() = $text =~ /\n/g)};
}

# What templates may use.
sub money ($cents) {
    my $text = sprintf '%.2f €', $cents / 100;
    1 while $text =~ s/^(-?\d+)(\d{3})/$1,$2/;
    return $text;
}

sub sum_of (@items) {
    return sum0(map { $_->{count} * $_->{cents} } @items);
}

1;
