package snapfaas.runtime;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;

/** What is done before the snapshot so that it need not be done behind it. */
final class WarmUp {
    /** A small function, made with the image, with a jar of its own. */
    private static final String FOLDER = "/usr/lib/snapfaas/warm";

    private static final String FOLDER_CLASS_PATH = FunctionLoader.OWN_JAR + ":" + FOLDER + "/lib/part.jar";

    private static final int ROUNDS = 3;

    private static final int PIECE_BYTES = 128 * 1024;

    /** So that the compiler does not leave out what nobody uses. */
    private static volatile byte[] unused;

    private WarmUp() {}

    /** Runs a first request's code, so that its classes are loaded and its pages are in the snapshot. */
    static void run() {
        Randomness.warmUp();
        Environment.warmUp();
        Map<String, Object> context = Map.of("functionName", "f", "requestId", "r", "deadlineMs", 1e13,
            "memoryLimitInMB", 128);
        for (int i = 0; i < ROUNDS; i++) {
            answerSome(context);
            compileSome();
        }
        Thread.currentThread().setContextClassLoader(WarmUp.class.getClassLoader());
        putHeapAtRest();
    }

    private static void answerSome(Map<String, Object> context) {
        try {
            Function function = Function.load(FOLDER);
            for (String event : new String[] {
                "{\"n\": 1, \"s\": \"\\u00e4\u00e4\", \"l\": [1.5, true, null, -7, 12345678901]}", "{\"fail\": true}",
                    "{\"n\": [1]}",
                "not json",
            }) {
                function.answer(event.getBytes(StandardCharsets.UTF_8), context);
            }
        } catch (LoadException error) {
            throw new IllegalStateException(error);
        }
    }

    /** The compiler is the slowest thing of all to run for the first time. */
    private static void compileSome() {
        try {
            Path folder = Path.of(FOLDER);
            SourceCompiler.compile(folder, SourceCompiler.findSources(folder), FOLDER_CLASS_PATH);
        } catch (LoadException | IOException error) {
            throw new IllegalStateException(error);
        }
    }

    /**
     * Leaves what is alive packed together, and zeroes behind it, as pages of zeroes take no room in a snapshot: the
     * room for new objects is filled with empty arrays until the collector empties it.
     */
    static void putHeapAtRest() {
        System.gc();
        Runtime runtime = Runtime.getRuntime();
        for (long free = runtime.freeMemory(), before = free + 1; free < before; free = runtime.freeMemory()) {
            before = free;
            unused = new byte[PIECE_BYTES];
        }
        unused = null;
        System.gc();
    }
}
