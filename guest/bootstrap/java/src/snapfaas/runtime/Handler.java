package snapfaas.runtime;

import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.RequestHandler;
import com.amazonaws.services.lambda.runtime.RequestStreamHandler;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.util.HashMap;
import java.util.Map;

/** What answers events: a function's object or static method, and how it wants its event. */
abstract class Handler {
    /** The event cannot be had in the form that the handler wants. */
    static final class UnmarshalException extends Exception {
        private static final long serialVersionUID = 1;

        UnmarshalException(String message) {
            super(message);
        }
    }

    /** The answer of a handler of streams: JSON already. */
    record Written(byte[] bytes) {}

    /** What the handler throws comes out as it is. */
    abstract Object call(byte[] event, Context context) throws Throwable;

    private static Object read(byte[] event, Type type) throws UnmarshalException {
        try {
            return Binder.bind(JsonParser.parse(event), type);
        } catch (JsonParser.SyntaxException error) {
            throw new UnmarshalException("Event is not JSON: " + error.getMessage());
        } catch (Binder.MismatchException error) {
            throw new UnmarshalException("An error occurred during JSON parsing: " + error.getMessage());
        }
    }

    // ---- the interfaces ---------------------------------------------------------------------------------------------

    /** The handler that `type` is, by one of AWS Lambda's interfaces; null where it is none. */
    static Handler ofInterface(Class<?> type) throws LoadException {
        if (RequestStreamHandler.class.isAssignableFrom(type)) {
            RequestStreamHandler function = (RequestStreamHandler) instantiate(type);
            return new Handler() {
                @Override
                Object call(byte[] event, Context context) throws Throwable {
                    ByteArrayOutputStream answer = new ByteArrayOutputStream();
                    function.handleRequest(new ByteArrayInputStream(event), answer, context);
                    return new Written(answer.toByteArray());
                }
            };
        }
        if (RequestHandler.class.isAssignableFrom(type)) {
            Type wanted = requestType(type, new HashMap<>());
            @SuppressWarnings("unchecked")
            RequestHandler<Object, Object> function = (RequestHandler<Object, Object>) instantiate(type);
            return new Handler() {
                @Override
                Object call(byte[] event, Context context) throws Throwable {
                    return function.handleRequest(read(event, wanted), context);
                }
            };
        }
        return null;
    }

    /** What `type` puts in place of RequestHandler's first parameter, however far up; null where it is not that. */
    private static Type requestType(Type type, Map<TypeVariable<?>, Type> known) {
        Class<?> raw;
        if (type instanceof ParameterizedType generic) {
            raw = (Class<?>) generic.getRawType();
            TypeVariable<?>[] variables = raw.getTypeParameters();
            for (int i = 0; i < variables.length; i++) {
                Type argument = generic.getActualTypeArguments()[i];
                known.put(variables[i], argument instanceof TypeVariable<?> ? known.getOrDefault(argument, argument)
                    : argument);
            }
        } else {
            raw = (Class<?>) type;
        }
        if (raw == RequestHandler.class) {
            return type instanceof ParameterizedType ? known.get(raw.getTypeParameters()[0]) : Object.class;
        }
        for (Type above : raw.getGenericInterfaces()) {
            Type found = requestType(above, known);
            if (found != null) {
                return found;
            }
        }
        return raw.getGenericSuperclass() == null ? null : requestType(raw.getGenericSuperclass(), known);
    }

    private static Object instantiate(Class<?> type) throws LoadException {
        String name = type.getName();
        try {
            var constructor = type.getDeclaredConstructor();
            constructor.trySetAccessible();
            return constructor.newInstance();
        } catch (InvocationTargetException error) {
            throw new LoadException(Report.of(error.getCause(), ""));
        } catch (NoSuchMethodException error) {
            throw new LoadException("Runtime.HandlerNotFound", "Class " + name
                + " has no public zero-argument constructor");
        } catch (ReflectiveOperationException error) {
            throw new LoadException("Runtime.HandlerNotFound", "Class " + name + " cannot be instantiated: "
                + error.getMessage());
        }
    }

    // ---- methods ----------------------------------------------------------------------------------------------------

    /** The handler that the method `name` of `type` is; null where no method of that name has a signature for it. */
    static Handler ofMethod(Class<?> type, String name) throws LoadException {
        Method best = null;
        for (Method method : type.getMethods()) {
            if (method.getName().equals(name) && isHandler(method) && (best == null || rank(method) > rank(best))) {
                best = method;
            }
        }
        if (best == null) {
            return null;
        }
        best.trySetAccessible();
        Object object = Modifier.isStatic(best.getModifiers()) ? null : instantiate(type);
        return new MethodHandler(best, object, eventType(type, best));
    }

    private static boolean isContext(Class<?> type) {
        return type == Context.class;
    }

    /** (event), (event, Context), (Context), (), and streams in place of event and answer. */
    private static boolean isHandler(Method method) {
        Class<?>[] types = method.getParameterTypes();
        int count = types.length > 0 && isContext(types[types.length - 1]) ? types.length - 1 : types.length;
        boolean writes = count > 0 && types[count - 1] == OutputStream.class;
        int events = writes ? count - 1 : count;
        return events == 0 || events == 1 && !isContext(types[0]) && (!writes || types[0] == InputStream.class);
    }

    /** As AWS Lambda prefers them: no bridge, many parameters, a Context. */
    private static int rank(Method method) {
        Class<?>[] types = method.getParameterTypes();
        int rank = types.length + (types.length > 0 && isContext(types[types.length - 1]) ? 1 : 0);
        return method.isBridge() ? rank - 10 : rank;
    }

    /** Null where the method takes no event. */
    private static Type eventType(Class<?> type, Method method) {
        if (method.getParameterCount() == 0) {
            return null;
        }
        Class<?> first = method.getParameterTypes()[0];
        if (isContext(first) || first == OutputStream.class) {
            return null;
        }
        if (method.isBridge() && RequestHandler.class.isAssignableFrom(type)) {
            return requestType(type, new HashMap<>());
        }
        return method.getGenericParameterTypes()[0];
    }

    private static final class MethodHandler extends Handler {
        private final Method method;
        private final Class<?>[] types;
        private final Object object;
        private final Type eventType;

        MethodHandler(Method method, Object object, Type eventType) {
            this.method = method;
            this.types = method.getParameterTypes();
            this.object = object;
            this.eventType = eventType;
        }

        @Override
        Object call(byte[] event, Context context) throws Throwable {
            Object[] arguments = new Object[types.length];
            ByteArrayOutputStream answer = null;
            for (int i = 0; i < types.length; i++) {
                if (isContext(types[i])) {
                    arguments[i] = context;
                } else if (types[i] == OutputStream.class) {
                    arguments[i] = answer = new ByteArrayOutputStream();
                } else if (types[i] == InputStream.class) {
                    arguments[i] = new ByteArrayInputStream(event);
                } else {
                    arguments[i] = read(event, eventType);
                }
            }
            try {
                Object result = method.invoke(object, arguments);
                return answer == null ? result : new Written(answer.toByteArray());
            } catch (InvocationTargetException error) {
                throw error.getCause();
            }
        }
    }
}
