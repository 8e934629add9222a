<?php
throw new RangeException('cannot be loaded');
