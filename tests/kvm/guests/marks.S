# Rings every form of the doorbell, prints, shows its identity page, and switches off.
.include "guest.inc"
        .globl  _start
_start:
        ring    $1
        mov     $DOORBELL_PORT, %dx
        mov     $2, %al
        out     %al, %dx
        mov     $3, %ax
        out     %ax, %dx
        mov     $DOORBELL_MMIO, %ebx
        movl    $4, (%rbx)
        movb    $5, (%rbx)
        movl    $99, 8(%rbx)            # not the doorbell: ignored

        lea     text(%rip), %rsi
        mov     $SERIAL_PORT, %dx
next:   mov     (%rsi), %al
        test    %al, %al
        jz      printed
        out     %al, %dx
        inc     %rsi
        jmp     next
printed:
        mov     $IDENTITY_PAGE, %ebx
        mov     (%rbx), %eax            # low half of the magic
        ring    %eax
        movl    $0, (%rbx)              # read-only: changes nothing
        mov     (%rbx), %eax
        ring    %eax
        ring    $126
        power_off
        halt_forever
text:   .asciz  "hello from ring zero\n"
