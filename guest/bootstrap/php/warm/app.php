<?php
// What the bootstrap loads and runs before the snapshot.

return function (array $event, $context): array {
    if ($event['fail'] ?? false) {
        throw new RuntimeException('wanted');
    }
    return ['n' => $event['n'], 'left' => $context->getRemainingTimeInMillis(), 'found' => preg_match('/a+b/', 'aab')];
};
