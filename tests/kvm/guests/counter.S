# Counts in memory across a snapshot. Before it: counter = 1, a page far away holds a pattern. After it: rings
# 1000 + counter, 2000 + that page's first byte, and then changes both.
.include "guest.inc"
        .globl  _start
_start:
        incl    counter(%rip)
        mov     $0x180000, %ebx
        movl    $0x55, (%rbx)
        ring    $124
        incl    counter(%rip)
        mov     counter(%rip), %ecx
        add     $1000, %ecx
        ring    %ecx
        movzbl  (%rbx), %ecx
        add     $2000, %ecx
        ring    %ecx
        movl    $0x66, (%rbx)
        movl    $7, counter(%rip)
        # The identity differs after a restore: generation 0 is a boot.
        mov     $IDENTITY_PAGE, %esi
        mov     8(%rsi), %ecx
        test    %ecx, %ecx
        jz      booted
        ring    $3001
        jmp     ready
booted: ring    $3000
ready:  ring    $126
        halt_forever
        .balign 8
counter: .long  0
