# What a function may want done around its snapshot:
#
#   use SnapStart qw(register_before_snapshot register_after_restore);
#   register_before_snapshot(sub { $connection->close });
#   register_after_restore(\&reconnect, $connection);
#
# Hooks before the snapshot run with the last registered first, those after a restore in order.
package SnapStart;
use v5.36;

use Exporter 'import';

our @EXPORT_OK = qw(register_before_snapshot register_after_restore);

my (@before, @after);

sub register_before_snapshot ($hook, @arguments) {
    push @before, [_checked($hook), @arguments];
    return;
}

sub register_after_restore ($hook, @arguments) {
    push @after, [_checked($hook), @arguments];
    return;
}

sub _checked ($hook) {
    return $hook if ref $hook eq 'CODE';
    require Carp;
    Carp::croak('a hook is a reference to a sub');
}

# For the bootstrap.
sub run_before_snapshot () { _run(reverse @before) }

sub run_after_restore () { _run(@after) }

sub _run (@hooks) {
    for my $hook (@hooks) {
        my ($code, @arguments) = @$hook;
        $code->(@arguments);
    }
    return;
}

1;
