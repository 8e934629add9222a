# Gets as far as the appfs after its snapshot, and then no further.
.include "guest.inc"
        .globl  _start
_start:
        ring    $124
        ring    $5
        ring    $4
        halt_forever
