# Never rings 124, never leaves.
.include "guest.inc"
        .globl  _start
_start:
        ring    $1
spin:   jmp     spin
