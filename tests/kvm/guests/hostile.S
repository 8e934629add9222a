# Writes garbage over all registers of all virtio devices and over device space, points queues outside memory, rings
# them, and must still be there to say so.
.include "guest.inc"
        .globl  _start
_start:
        mov     $0xd0010000, %ebx       # four virtio-mmio pages and some that are not there
        mov     $8, %r8d
device: mov     $0, %ecx
register:
        movl    $0xffffffff, (%rbx,%rcx)
        movl    (%rbx,%rcx), %eax
        movb    $0x7f, 1(%rbx,%rcx)
        add     $4, %ecx
        cmp     $0x200, %ecx
        jne     register

        movl    $0, 0x70(%rbx)          # Status: reset, then the whole way to DRIVER_OK
        movl    $1, 0x70(%rbx)
        movl    $3, 0x70(%rbx)
        movl    $1, 0x24(%rbx)
        movl    $1, 0x20(%rbx)          # VERSION_1
        movl    $11, 0x70(%rbx)
        movl    $0, 0x30(%rbx)
        movl    $8, 0x38(%rbx)
        movl    $0xfffffff0, 0x80(%rbx) # descriptors, driver and device area: outside memory
        movl    $0xffffffff, 0x84(%rbx)
        movl    $0xfffffff0, 0x90(%rbx)
        movl    $0xfffffff0, 0xa0(%rbx)
        movl    $1, 0x44(%rbx)
        movl    $15, 0x70(%rbx)
        movl    $0, 0x50(%rbx)
        movl    $77, 0x50(%rbx)
        add     $0x1000, %ebx
        dec     %r8d
        jnz     device

        mov     $0x600, %dx             # a sleep type that is not off, a reset value that is none
        mov     $0x21, %al
        out     %al, %dx
        mov     $RESET_PORT, %dx
        xor     %al, %al
        out     %al, %dx
        ring    $126
        halt_forever
