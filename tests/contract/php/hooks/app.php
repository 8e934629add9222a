<?php

use function SnapStart\register_after_restore;
use function SnapStart\register_before_snapshot;

$done = [];
$note = function ($what) use (&$done) {
    $done[] = $what;
};
register_before_snapshot($note, 'before');
register_after_restore($note, 'after');

function handler($event, $context)
{
    global $done;
    return [
        'hooks' => $done,
        'random' => mt_rand(),
        'uuid' => bin2hex(random_bytes(16)),
        'boot' => trim(file_get_contents('/proc/sys/kernel/random/boot_id')),
    ];
}
