package snapfaas.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import java.util.Map;

/** A loaded function: answers events. */
final class Function {
    /** What a folder that was not deployed may call its handler: AWS Lambda's interfaces come first. */
    private static final String[] CLASSES = {"App", "Workload"};
    private static final String[] METHODS = {"handler", "handle"};

    /** A frame for the host; `end` says that the JVM is not to be trusted behind it. */
    record Answer(String kind, byte[] payload, int length, boolean end) {
        static Answer error(Report report, boolean end) {
            byte[] payload = report.encode();
            return new Answer(end ? "last-error" : "error", payload, payload.length, end);
        }
    }

    private final Handler handler;
    private final boolean logsErrors;

    private Function(Handler handler, boolean logsErrors) {
        this.handler = handler;
        this.logsErrors = logsErrors;
    }

    static Function load(String folder) throws LoadException {
        FunctionLoader loader = new FunctionLoader(folder);
        Thread.currentThread().setContextClassLoader(loader);
        Map<?, ?> configuration = loader.readConfiguration();
        if (configuration == null) {
            return new Function(findHandler(loader), false);
        }
        String name = (String) configuration.get("handler");
        Environment.setUp(configuration, name);
        return new Function(configuredHandler(loader, name), true);
    }

    // ---- finding the handler ----------------------------------------------------------------------------------------

    private static Handler findHandler(FunctionLoader loader) throws LoadException {
        String found = null;
        for (String name : CLASSES) {
            Class<?> type = findClass(loader, name);
            if (type == null) {
                continue;
            }
            Handler handler = Handler.ofInterface(type);
            for (int i = 0; handler == null && i < METHODS.length; i++) {
                handler = Handler.ofMethod(type, METHODS[i]);
            }
            if (handler != null) {
                return handler;
            }
            found = found == null ? name : found;
        }
        if (found == null) {
            throw new LoadException("Runtime.ImportModuleError", "Class not found: neither App nor Workload");
        }
        throw new LoadException("Runtime.HandlerNotFound", "Class " + found
            + " is no RequestHandler and has neither a public"
            + " handler(event, context) nor handle(event)");
    }

    /** `name` is package.Class::method, or package.Class of one that implements an interface. */
    private static Handler configuredHandler(FunctionLoader loader, String name) throws LoadException {
        int colons = name.indexOf("::");
        String className = colons < 0 ? name : name.substring(0, colons);
        String method = colons < 0 ? null : name.substring(colons + 2);
        if (className.isEmpty() || className.indexOf(':') >= 0 || method != null && (method.isEmpty()
            || method.indexOf(':') >= 0)) {
            throw new LoadException("Runtime.MalformedHandlerName", "Invalid handler: `" + name + "'");
        }
        Class<?> type = findClass(loader, className);
        if (type == null) {
            throw new LoadException("java.lang.ClassNotFoundException", "Class not found: " + className);
        }
        Handler handler = method == null ? Handler.ofInterface(type) : Handler.ofMethod(type, method);
        if (handler != null) {
            return handler;
        }
        throw new LoadException("Runtime.HandlerNotFound", method == null
            ? "Class does not implement an appropriate handler interface: " + className
            : "No public method named " + method + " with appropriate method signature found on class " + className);
    }

    private static Class<?> findClass(FunctionLoader loader, String name) throws LoadException {
        try {
            return loader.find(name);
        } catch (LoadException error) {
            throw error;
        } catch (Throwable error) {
            // What a static initialiser has thrown says more than that it has thrown.
            Throwable said = error instanceof ExceptionInInitializerError && error.getCause() != null
                ? error.getCause() : error;
            String message = "Error loading class " + name + (said.getMessage() == null ? "" : ": "
                + said.getMessage());
            throw new LoadException(Report.of(error, error.getClass().getName(), message, ""));
        }
    }

    // ---- answering --------------------------------------------------------------------------------------------------

    /** Never throws. */
    Answer answer(byte[] event, Map<?, ?> contextValues) {
        LambdaContext context = new LambdaContext(contextValues);
        try {
            return write(handler.call(event, context), context);
        } catch (Handler.UnmarshalException error) {
            return failed(new Report("Runtime.UnmarshalError", error.getMessage(), context.getAwsRequestId()), false);
        } catch (Throwable error) {
            // As AWS Lambda does: what is left of a JVM without memory or stack is not trusted with another event.
            boolean end = error instanceof VirtualMachineError;
            return failed(Report.of(error, context.getAwsRequestId()), end);
        } finally {
            Thread.interrupted();
        }
    }

    private Answer failed(Report report, boolean end) {
        if (logsErrors) {
            report.log();
        }
        return Answer.error(report, end);
    }

    private Answer write(Object result, Context context) {
        String id = context.getAwsRequestId();
        byte[] bytes;
        long length;
        try {
            if (result instanceof Handler.Written written) {
                bytes = written.bytes();
                length = bytes.length;
                JsonParser.parse(bytes);
            } else {
                JsonWriter writer = new JsonWriter(Channel.MAX_RESPONSE_BYTES);
                writer.write(result);
                bytes = writer.bytes();
                length = writer.length();
            }
        } catch (JsonWriter.UnwritableException | JsonParser.SyntaxException | ReflectiveOperationException
                 | RuntimeException error) {
            String message = "Unable to marshal response: " + error.getMessage();
            return failed(new Report("Runtime.MarshalError", message, id), false);
        }
        if (length > Channel.MAX_RESPONSE_BYTES) {
            String message = "Response payload size (" + length + " bytes) exceeded maximum allowed payload size ("
                + Channel.MAX_RESPONSE_BYTES + " bytes).";
            return failed(new Report("Function.ResponseSizeTooLarge", message, id), false);
        }
        return new Answer("result", bytes, (int) length, false);
    }
}
