package snapfaas.runtime;

import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** Lines from and to the agent. */
final class Control {
    private final FileInputStream input;
    private final FileOutputStream output;

    Control(int readDescriptor, int writeDescriptor) {
        input = new FileInputStream(Channel.open(readDescriptor));
        output = new FileOutputStream(Channel.open(writeDescriptor));
    }

    /** The agent says nothing more before it has its answer. */
    String readLine() throws IOException {
        byte[] line = new byte[1024];
        int length = 0;
        while (length == 0 || line[length - 1] != '\n') {
            int got = input.read(line, length, line.length - length);
            if (got <= 0) {
                throw new IOException("the agent is gone");
            }
            length += got;
        }
        return new String(line, 0, length - 1, StandardCharsets.UTF_8);
    }

    void writeLine(String text) throws IOException {
        output.write((text + '\n').getBytes(StandardCharsets.UTF_8));
    }
}
