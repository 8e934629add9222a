# Loads an empty interrupt table and faults.
.include "guest.inc"
        .globl  _start
_start:
        ring    $1
        lidt    empty(%rip)
        ud2
empty:  .word   0
        .quad   0
