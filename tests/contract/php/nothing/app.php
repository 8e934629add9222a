<?php
function other($event, $context)
{
}
