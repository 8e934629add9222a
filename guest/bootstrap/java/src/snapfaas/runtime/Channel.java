package snapfaas.runtime;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import jdk.internal.access.SharedSecrets;

/** Frames over a descriptor that is read and written in pieces of any size. */
final class Channel {
    /** AWS Lambda's limit for a response. */
    static final int MAX_RESPONSE_BYTES = 6_291_556;

    /** src/wire/frame.h: kMaxFrameBytes. */
    private static final int MAX_FRAME_BYTES = MAX_RESPONSE_BYTES + 64 * 1024;

    private static final int MAX_HEADER_BYTES = 64;

    /** As much as the JVM's own code reads and writes without memory from malloc. */
    private static final int PIECE_BYTES = 8192;

    /** The host has broken the framing: the channel is of no further use. */
    static final class BrokenException extends Exception {
        private static final long serialVersionUID = 1;

        BrokenException(String message) {
            super(message);
        }
    }

    record Frame(String kind, byte[] payload) {}

    private final FileInputStream input;
    private final FileOutputStream output;
    private final byte[] buffer = new byte[PIECE_BYTES];
    private int start;
    private int end;

    /** One descriptor for both ways: a virtio port can be opened only once. */
    Channel(int descriptor) {
        FileDescriptor file = open(descriptor);
        input = new FileInputStream(file);
        output = new FileOutputStream(file);
    }

    static FileDescriptor open(int descriptor) {
        FileDescriptor file = new FileDescriptor();
        SharedSecrets.getJavaIOFileDescriptorAccess().set(file, descriptor);
        return file;
    }

    Frame readFrame() throws IOException, BrokenException {
        int at = findLineEnd();
        String header = new String(buffer, start, at - start, StandardCharsets.ISO_8859_1);
        start = at + 1;
        int space = header.indexOf(' ');
        int length = space <= 0 ? -1 : parseLength(header, space + 1);
        if (length < 0) {
            throw new BrokenException("a malformed frame header");
        }
        return new Frame(header.substring(0, space), readPayload(length));
    }

    private int findLineEnd() throws IOException, BrokenException {
        for (int at = start;;) {
            for (; at < end; at++) {
                if (buffer[at] == '\n') {
                    return at;
                }
            }
            if (end - start > MAX_HEADER_BYTES) {
                throw new BrokenException("a frame header without an end");
            }
            System.arraycopy(buffer, start, buffer, 0, end - start);
            at -= start;
            end -= start;
            start = 0;
            end += readSome(buffer, end, PIECE_BYTES - end);
        }
    }

    /** Minus one for what is no length of a frame. */
    private static int parseLength(String header, int at) {
        if (at == header.length() || header.length() - at > 9) {
            return -1;
        }
        int length = 0;
        for (; at < header.length(); at++) {
            int digit = header.charAt(at) - '0';
            if (digit < 0 || digit > 9) {
                return -1;
            }
            length = length * 10 + digit;
        }
        return length <= MAX_FRAME_BYTES ? length : -1;
    }

    private byte[] readPayload(int length) throws IOException {
        byte[] payload = new byte[length];
        int have = Math.min(length, end - start);
        System.arraycopy(buffer, start, payload, 0, have);
        start += have;
        while (have < length) {
            have += readSome(payload, have, Math.min(length - have, PIECE_BYTES));
        }
        return payload;
    }

    /** A virtio port reads as ended while no host is connected to it; the host may come back. */
    private int readSome(byte[] into, int offset, int most) throws IOException {
        for (long pause = 1;; pause = Math.min(2 * pause, 50)) {
            int got = input.read(into, offset, most);
            if (got > 0) {
                return got;
            }
            sleep(pause);
        }
    }

    private static void sleep(long millis) {
        try {
            Thread.sleep(millis);
        } catch (InterruptedException ignored) {
            // Nobody who waits here can be hurried.
        }
    }

    /** Header and payload leave together where they are small: each write is an exit of the virtual machine. */
    void writeFrame(String kind, byte[] payload, int length) throws IOException {
        byte[] header = (kind + ' ' + length + '\n').getBytes(StandardCharsets.ISO_8859_1);
        if (header.length + length <= PIECE_BYTES) {
            byte[] all = new byte[header.length + length];
            System.arraycopy(header, 0, all, 0, header.length);
            System.arraycopy(payload, 0, all, header.length, length);
            output.write(all);
            return;
        }
        output.write(header);
        for (int at = 0; at < length; at += PIECE_BYTES) {
            output.write(payload, at, Math.min(PIECE_BYTES, length - at));
        }
    }
}
