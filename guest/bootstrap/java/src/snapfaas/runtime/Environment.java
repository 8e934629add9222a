package snapfaas.runtime;

import java.lang.reflect.Field;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.Map;
import java.util.TimeZone;
import java.util.UUID;

/** The environment variables. Java has read them when it started; a deployed function brings its own afterwards. */
final class Environment {
    private static final Map<String, String> VARIABLES = writableVariables();

    private Environment() {}

    /** The map behind System.getenv(), which child processes get too. */
    @SuppressWarnings("unchecked")
    private static Map<String, String> writableVariables() {
        try {
            Map<String, String> view = System.getenv();
            Field inner = view.getClass().getDeclaredField("m");
            inner.setAccessible(true);
            return (Map<String, String>) inner.get(view);
        } catch (ReflectiveOperationException error) {
            throw new IllegalStateException(error);
        }
    }

    static void set(String name, String value) {
        VARIABLES.put(name, value);
    }

    /** Loads the code of this class. */
    static void warmUp() {
        VARIABLES.put("_WARM", "");
        VARIABLES.remove("_WARM");
        logStreamName("$LATEST", "");
    }

    static boolean isDeployed() {
        return VARIABLES.containsKey("_HANDLER");
    }

    static String logStreamName(String version, String unique) {
        LocalDate day = LocalDate.now(ZoneOffset.UTC);
        StringBuilder name = new StringBuilder().append(day.getYear());
        for (int part : new int[] {day.getMonthValue(), day.getDayOfMonth()}) {
            name.append(part < 10 ? "/0" : "/").append(part);
        }
        return name.append("/[").append(version).append(']').append(unique).toString();
    }

    /** One for each microVM, as one snapshot gives many. */
    static void renewLogStreamName() {
        String version = VARIABLES.getOrDefault("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
        set("AWS_LAMBDA_LOG_STREAM_NAME", logStreamName(version, UUID.randomUUID().toString().replace("-", "")));
    }

    /** As AWS Lambda's. `configuration` is .snapfaas/function.json. */
    static void setUp(Map<?, ?> configuration, String handler) throws LoadException {
        String name = textOr(configuration.get("functionName"), "function");
        String region = textOr(configuration.get("region"), "us-east-1");
        set("_HANDLER", handler);
        set("AWS_DEFAULT_REGION", region);
        set("AWS_EXECUTION_ENV", "AWS_Lambda_java" + Runtime.version().feature());
        set("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", textOr(configuration.get("memorySize"), ""));
        set("AWS_LAMBDA_FUNCTION_NAME", name);
        set("AWS_LAMBDA_FUNCTION_VERSION", textOr(configuration.get("functionVersion"), "$LATEST"));
        set("AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + name);
        set("AWS_REGION", region);
        set("LAMBDA_RUNTIME_DIR", "/usr/lib/snapfaas");
        set("LAMBDA_TASK_ROOT", FunctionLoader.TASK_ROOT);
        set("TZ", ":UTC");
        renewLogStreamName();
        // The function's own go last, so that it may have another time zone.
        if (configuration.get("environment") instanceof Map<?, ?> own) {
            for (Map.Entry<?, ?> entry : own.entrySet()) {
                setOwn((String) entry.getKey(), entry.getValue());
            }
        }
        String zone = VARIABLES.get("TZ");
        if (!zone.equals(":UTC")) {
            TimeZone.setDefault(TimeZone.getTimeZone(zone.startsWith(":") ? zone.substring(1) : zone));
        }
    }

    private static String textOr(Object value, String otherwise) {
        return value == null || value.equals("") ? otherwise : value.toString();
    }

    private static void setOwn(String name, Object value) throws LoadException {
        try {
            set(name, (String) value);
        } catch (ClassCastException | IllegalArgumentException | NullPointerException error) {
            throw new LoadException("Runtime.InitError", "an environment variable cannot be set: "
                + error.getMessage());
        }
    }
}
