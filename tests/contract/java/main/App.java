import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.Context;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** The function of the shared contract suite: what it does is said by the event's "case". */
public class App {
    private static int events;

    public Object handler(Map<String, Object> event, Context context) throws Exception {
        events++;
        switch ((String) event.get("case")) {
            case "echo":
                return single("echo", event.get("value"));
            case "raise":
                throw new IllegalStateException("wanted: \u00e4");
            case "log":
                return log(number(event, "lines"));
            case "large":
                return large((String) event.get("padding"), number(event, "bytes"));
            case "context":
                return describe(context);
            case "environment":
                return environment();
            case "tmp":
                return tmp();
            case "sleep":
                Thread.sleep((long) (1000 * ((Number) event.get("seconds")).doubleValue()));
                return single("slept", event.get("seconds"));
            case "memory":
                return memory();
            case "exit":
                System.exit(3);
                return null;
            case "signal":
                return signal();
            case "count":
                return single("count", events);
            case "unserialisable":
                return new Object();
            default:
                throw new IllegalArgumentException("no such case");
        }
    }

    private static int number(Map<String, Object> event, String name) {
        return ((Number) event.get(name)).intValue();
    }

    private static Map<String, Object> single(String name, Object value) {
        Map<String, Object> map = new LinkedHashMap<>();
        map.put(name, value);
        return map;
    }

    private static Object log(int lines) {
        for (int i = 1; i <= lines; i++) {
            System.out.println("out " + i);
            System.err.println("err " + i);
        }
        return null;
    }

    private static Object large(String padding, int bytes) {
        Map<String, Object> answer = single("length", padding == null ? 0
            : padding.codePointCount(0, padding.length()));
        answer.put("text", "x".repeat(bytes));
        return answer;
    }

    private static Object describe(Context context) {
        ClientContext said = context.getClientContext();
        Map<String, Object> answer = single("requestId", context.getAwsRequestId());
        answer.put("functionName", context.getFunctionName());
        answer.put("functionVersion", context.getFunctionVersion());
        answer.put("memory", context.getMemoryLimitInMB());
        answer.put("arn", context.getInvokedFunctionArn());
        answer.put("remaining", context.getRemainingTimeInMillis());
        answer.put("logStream", context.getLogStreamName());
        answer.put("custom", said == null ? null : said.getCustom());
        return answer;
    }

    private static Object environment() throws IOException {
        Map<String, Object> answer = single("handler", System.getenv("_HANDLER"));
        answer.put("region", System.getenv("AWS_REGION"));
        answer.put("value", System.getenv("CONTRACT_VALUE"));
        answer.put("cwd", System.getProperty("user.dir"));
        answer.put("root", System.getenv("LAMBDA_TASK_ROOT"));
        return answer;
    }

    private static Object tmp() throws IOException {
        Path file = Path.of("/tmp/contract");
        try (OutputStream stream = Files.newOutputStream(file, StandardOpenOption.CREATE, StandardOpenOption.APPEND)) {
            stream.write('x');
        }
        return single("bytes", Files.size(file));
    }

    private static Object memory() {
        List<byte[]> taken = new ArrayList<>();
        for (;;) {
            byte[] piece = new byte[1 << 20];
            for (int i = 0; i < piece.length; i += 4096) {
                piece[i] = 1;
            }
            taken.add(piece);
        }
    }

    /** The JVM catches SIGSEGV and ends with SIGABRT; only SIGKILL is sure to be what is seen. */
    private static Object signal() throws Exception {
        new ProcessBuilder("/bin/sh", "-c", "kill -KILL " + ProcessHandle.current().pid()).start().waitFor();
        Thread.sleep(10_000);
        return null;
    }
}
