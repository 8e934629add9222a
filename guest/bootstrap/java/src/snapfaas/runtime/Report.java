package snapfaas.runtime;

import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** An error as the host and the log are told of it. */
final class Report {
    // A report must fit a frame whatever a function puts into it.
    private static final int MAX_MESSAGE_CHARACTERS = 256 * 1024;
    private static final int MAX_STACK_LINES = 100;
    private static final int MAX_STACK_LINE_CHARACTERS = 4 * 1024;
    private static final int MAX_CAUSES = 5;
    private static final int MAX_LOG_CHARACTERS = 256 * 1024;

    private static final String OWN_PACKAGE = "snapfaas.runtime.";

    private final String type;
    private final String message;
    private final String requestId;
    private List<String> stack = List.of();
    private Report cause;
    private String trace = "";

    Report(String type, String message, String requestId) {
        this.type = type;
        this.message = cut(message, MAX_MESSAGE_CHARACTERS);
        this.requestId = requestId;
    }

    /** Takes the frames of this runtime out of `error`. */
    static Report of(Throwable error, String requestId) {
        return of(error, error.getClass().getName(), messageOf(error), requestId);
    }

    static Report of(Throwable error, String type, String message, String requestId) {
        Report report = new Report(type, message, requestId);
        try {
            report.addStack(error, 0);
            report.trace = cut(printed(error), MAX_LOG_CHARACTERS);
        } catch (RuntimeException | StackOverflowError ignored) {
            // an exception of the function whose own methods fail
        }
        return report;
    }

    String message() {
        return message;
    }

    Report withStack(List<String> lines) {
        stack = bounded(lines);
        trace = String.join("\n", stack) + '\n';
        return this;
    }

    private void addStack(Throwable error, int causes) {
        hideOwnFrames(error);
        List<String> lines = new ArrayList<>();
        for (StackTraceElement frame : error.getStackTrace()) {
            lines.add(frame.toString());
        }
        stack = bounded(lines);
        Throwable why = error.getCause();
        if (why != null && why != error && causes < MAX_CAUSES) {
            cause = new Report(why.getClass().getName(), messageOf(why), null);
            cause.addStack(why, causes + 1);
        }
        for (Throwable suppressed : error.getSuppressed()) {
            hideOwnFrames(suppressed);
        }
    }

    private static String messageOf(Throwable error) {
        try {
            String message = error.getLocalizedMessage();
            return message == null ? error.getClass().getName() : message;
        } catch (RuntimeException | StackOverflowError broken) {
            return "<unprintable>";
        }
    }

    /** What called the function: this runtime, and the reflection between. */
    private static void hideOwnFrames(Throwable error) {
        StackTraceElement[] frames = error.getStackTrace();
        int end = 0;
        while (end < frames.length && !frames[end].getClassName().startsWith(OWN_PACKAGE)) {
            end++;
        }
        if (end == frames.length) {
            return;
        }
        while (end > 0 && isReflection(frames[end - 1].getClassName())) {
            end--;
        }
        error.setStackTrace(Arrays.copyOf(frames, end));
    }

    private static boolean isReflection(String name) {
        return name.startsWith("jdk.internal.reflect.") || name.startsWith("java.lang.reflect.")
            || name.equals("java.lang.Class");
    }

    private static String printed(Throwable error) {
        StringWriter text = new StringWriter();
        error.printStackTrace(new PrintWriter(text));
        return text.toString();
    }

    private static List<String> bounded(List<String> lines) {
        List<String> kept = new ArrayList<>();
        int half = MAX_STACK_LINES / 2;
        for (int i = 0; i < lines.size(); i++) {
            if (lines.size() > MAX_STACK_LINES && i == half) {
                int left = lines.size() - 2 * half;
                kept.add("... " + left + " more ...");
                i += left;
            }
            kept.add(cut(lines.get(i), MAX_STACK_LINE_CHARACTERS));
        }
        return kept;
    }

    private static String cut(String text, int most) {
        return text.length() <= most ? text : text.substring(0, most);
    }

    private Map<String, Object> toMap() {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put("errorMessage", message);
        map.put("errorType", type);
        if (requestId != null) {
            map.put("requestId", requestId);
        }
        map.put("stackTrace", stack);
        if (cause != null) {
            map.put("cause", cause.toMap());
        }
        return map;
    }

    /** Without its cause, should it be too large for a frame with it. */
    byte[] encode() {
        JsonWriter writer = new JsonWriter(Channel.MAX_RESPONSE_BYTES);
        try {
            Map<String, Object> map = toMap();
            writer.write(map);
            if (writer.length() > Channel.MAX_RESPONSE_BYTES) {
                map.remove("cause");
                writer = new JsonWriter(Channel.MAX_RESPONSE_BYTES);
                writer.write(map);
            }
        } catch (JsonWriter.UnwritableException | ReflectiveOperationException impossible) {
            return "{}".getBytes(StandardCharsets.ISO_8859_1);
        }
        return Arrays.copyOf(writer.bytes(), (int) writer.length());
    }

    /** Writes it as AWS Lambda's runtime for Java does. */
    void log() {
        System.out.print(message + ": " + type + '\n' + trace + '\n');
    }
}
