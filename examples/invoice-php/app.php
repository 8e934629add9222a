<?php

require 'Twig/autoload.php';

use Twig\Environment;
use Twig\Loader\FilesystemLoader;

// Compiled when the function is loaded, so that a snapshot of the function has it.
$template = (new Environment(new FilesystemLoader(__DIR__)))->load('invoice.html.twig');

return function (array $event) use ($template): array {
    $sum = fn(array $line) => $line['count'] * $line['cents'];
    $total = array_sum(array_map($sum, $event['lines']));
    return ['total' => $total, 'html' => $template->render($event + ['total' => $total])];
};
