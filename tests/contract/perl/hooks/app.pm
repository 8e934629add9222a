# Says which hooks have run, and draws what must differ in each microVM.
package Hooks;
use v5.36;

use SnapStart qw(register_before_snapshot register_after_restore);

my @hooks;
register_before_snapshot(sub { push @hooks, 'before' });
register_after_restore(sub { push @hooks, 'after' });

sub handler ($event, $context) {
    return {hooks => \@hooks, random => rand, uuid => line_of('uuid'), boot => line_of('boot_id')};
}

# The kernel's generators.
sub line_of ($name) {
    open my $file, '<', "/proc/sys/kernel/random/$name" or die "cannot read $name: $!";
    chomp(my $line = <$file>);
    return $line;
}

1;
