package snapfaas.runtime;

import java.io.IOException;
import java.nio.file.Path;

/**
 * Run once when the image is made, so that the JVM notes which classes are loaded: the archive of classes is made of
 * those (image.sh). What is in it costs a microVM no memory until it is written to, so the compiler, and what functions
 * use most, are in it too.
 */
final class Training {
    private static final String[] COMMON = {
        "java.io.BufferedReader", "java.io.InputStreamReader", "java.io.RandomAccessFile", "java.io.StringReader",
        "java.math.BigDecimal", "java.math.MathContext", "java.net.HttpURLConnection", "java.net.URLDecoder",
        "java.net.URLEncoder", "java.net.http.HttpClient", "java.nio.file.Files", "java.nio.file.StandardOpenOption",
        "java.security.MessageDigest", "java.text.DecimalFormat", "java.text.SimpleDateFormat", "java.time.Duration",
        "java.time.Instant", "java.time.ZonedDateTime", "java.time.format.DateTimeFormatter", "java.util.Scanner",
        "java.util.StringJoiner", "java.util.concurrent.CompletableFuture", "java.util.concurrent.Executors",
        "java.util.concurrent.ThreadPoolExecutor", "java.util.function.BiFunction", "java.util.logging.Logger",
        "java.util.regex.Pattern", "java.util.stream.Collectors", "java.util.stream.IntStream",
            "java.util.stream.Stream",
        "java.util.zip.CRC32", "java.util.zip.GZIPInputStream", "java.util.zip.GZIPOutputStream", "javax.crypto.Cipher",
        "javax.crypto.Mac", "javax.crypto.spec.SecretKeySpec",
        "snapfaas.Snapshot", "snapfaas.runtime.Bootstrap", "snapfaas.runtime.Channel", "snapfaas.runtime.Channel$Frame",
        "snapfaas.runtime.Control", "snapfaas.runtime.Hooks",
    };

    private Training() {}

    /** Argument: the folder of a function with sources. */
    public static void main(String[] arguments) throws IOException, LoadException, ClassNotFoundException {
        Bootstrap.setUpStreams();
        WarmUp.run();
        Path folder = Path.of(arguments[0]);
        SourceCompiler.compile(folder, SourceCompiler.findSources(folder), FunctionLoader.OWN_JAR);
        for (String name : COMMON) {
            Class.forName(name);
        }
        System.out.println(String.format("%s", java.time.LocalDate.EPOCH));
    }
}
