package snapfaas.runtime;

import java.io.BufferedOutputStream;
import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;

/**
 * The Java bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
 *
 * Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
 * every restored VM while a caller waits, so it touches little memory and reads as few files as it can.
 */
public final class Bootstrap {
    private static final int CHANNEL = 3;
    private static final int CONTROL_IN = 4;
    private static final int CONTROL_OUT = 5;

    private final Channel channel = new Channel(CHANNEL);
    private final Control control = new Control(CONTROL_IN, CONTROL_OUT);

    /** Null: the function cannot be loaded, and `failure` is the answer to every event. */
    private Function function;
    private byte[] failure;

    public static void main(String[] arguments) throws IOException {
        setUpStreams();
        try {
            new Bootstrap().run();
        } catch (IOException | Channel.BrokenException error) {
            System.err.println("snapfaas-bootstrap: " + error.getMessage());
            System.exit(1);
        }
    }

    /** A line is one write, whichever language the machine speaks. */
    static void setUpStreams() {
        System.setOut(stream(FileDescriptor.out));
        System.setErr(stream(FileDescriptor.err));
    }

    private static PrintStream stream(FileDescriptor file) {
        return new PrintStream(new BufferedOutputStream(new FileOutputStream(file)), true, StandardCharsets.UTF_8);
    }

    private void run() throws IOException, Channel.BrokenException {
        WarmUp.run();
        control.writeLine("ready");
        String command = control.readLine();
        try {
            load(command);
        } catch (LoadException error) {
            giveUp(error.report);
            control.writeLine("failed");
            serve();
        }
        flushOutput();
        control.writeLine("loaded");
        if (command.endsWith(" checkpoint")) {
            try {
                resume(control.readLine());
            } catch (LoadException error) {
                giveUp(error.report);
            }
        }
        serve();
    }

    /** After the agent's `command`. */
    private void load(String command) throws LoadException, IOException {
        String[] words = command.split(" ", 2);
        if (words[0].equals("fail")) {
            throw new LoadException("Runtime.InitError", command.substring(words[0].length()).strip());
        }
        if (!words[0].equals("load") || words.length < 2) {
            throw new IOException("the agent said '" + command + "'");
        }
        boolean snapshot = words[1].endsWith(" checkpoint");
        Randomness.reseed(snapshot ? words[1].substring(0, words[1].indexOf(' ')) : words[1]);
        Environment.set("AWS_LAMBDA_INITIALIZATION_TYPE", snapshot ? "snap-start" : "on-demand");
        function = Function.load(FunctionLoader.TASK_ROOT);
        if (snapshot) {
            Hooks.runBeforeSnapshot();
            WarmUp.putHeapAtRest();
        }
    }

    /** Behind the function snapshot. */
    private void resume(String command) throws LoadException, IOException {
        if (!command.startsWith("resume ")) {
            throw new IOException("the agent said '" + command + "'");
        }
        Randomness.reseed(command.substring("resume ".length()));
        if (Environment.isDeployed()) {
            Environment.renewLogStreamName();
        }
        Hooks.runAfterRestore();
    }

    /** Tells the host that the function is of no use. */
    private void giveUp(Report report) throws IOException {
        function = null;
        failure = report.encode();
        if (Environment.isDeployed()) {
            report.log();
        }
        flushOutput();
        channel.writeFrame("init-error", failure, failure.length);
    }

    private static void flushOutput() {
        System.out.flush();
        System.err.flush();
    }

    /** Answers events for ever. */
    private void serve() throws IOException, Channel.BrokenException {
        Map<?, ?> contextValues = Map.of();
        for (;;) {
            Channel.Frame frame = channel.readFrame();
            switch (frame.kind()) {
                case "context" -> contextValues = readContext(frame.payload());
                case "event" -> answer(frame.payload(), contextValues);
                default -> throw new Channel.BrokenException("a frame of unknown kind");
            }
        }
    }

    private static Map<?, ?> readContext(byte[] payload) throws Channel.BrokenException {
        try {
            return JsonParser.parse(payload) instanceof Map<?, ?> values ? values : Map.of();
        } catch (JsonParser.SyntaxException error) {
            throw new Channel.BrokenException("a context that is not JSON");
        }
    }

    private void answer(byte[] event, Map<?, ?> contextValues) throws IOException {
        Function.Answer answer = function == null ? new Function.Answer("error", failure, failure.length, false)
            : function.answer(event, contextValues);
        flushOutput();
        channel.writeFrame(answer.kind(), answer.payload(), answer.length());
        if (answer.end()) {
            System.exit(1);
        }
    }
}
