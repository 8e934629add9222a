# Goes to the snapshot point twice. Between the two it clears a page, changes one and writes a new one; behind the second
# it rings 2000, 3000 and 4000 + what it finds in them.
.include "guest.inc"
        .globl  _start
_start:
        mov     $0x180000, %ebx
        mov     $0x190000, %esi
        mov     $0x1a0000, %edi
        movl    $0x55, (%rbx)
        movl    $0x44, (%rsi)
        ring    $124
        movl    $0, (%rbx)
        movl    $0x45, (%rsi)
        movl    $0x77, (%rdi)
        ring    $124
        movzbl  (%rbx), %ecx
        add     $2000, %ecx
        ring    %ecx
        movzbl  (%rsi), %ecx
        add     $3000, %ecx
        ring    %ecx
        movzbl  (%rdi), %ecx
        add     $4000, %ecx
        ring    %ecx
        ring    $126
        halt_forever
