package snapfaas.runtime;

import java.lang.reflect.Array;
import java.lang.reflect.Constructor;
import java.lang.reflect.GenericArrayType;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.lang.reflect.TypeVariable;
import java.lang.reflect.WildcardType;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.time.DateTimeException;
import java.time.OffsetDateTime;
import java.time.temporal.Temporal;
import java.time.temporal.TemporalAmount;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Base64;
import java.util.Collection;
import java.util.Date;
import java.util.Deque;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Queue;
import java.util.Set;
import java.util.SortedMap;
import java.util.SortedSet;
import java.util.TreeMap;
import java.util.TreeSet;

/** Makes of parsed JSON the type that a handler wants. Members that a class does not have are left out. */
final class Binder {
    static final class MismatchException extends Exception {
        private static final long serialVersionUID = 1;

        MismatchException(String message) {
            super(message);
        }
    }

    private Binder() {}

    static Object bind(Object value, Type type) throws MismatchException {
        try {
            return bind(value, type, Map.of());
        } catch (InvocationTargetException error) {
            throw new MismatchException("the event does not become " + type.getTypeName() + ": " + error.getCause());
        } catch (ReflectiveOperationException | RuntimeException error) {
            throw new MismatchException("the event does not become " + type.getTypeName() + ": " + error);
        }
    }

    /** `known`: what the type variables of the class around stand for. */
    private static Object bind(Object value, Type type, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        if (type instanceof Class<?> plain) {
            return bindClass(value, plain, known);
        }
        if (type instanceof ParameterizedType generic) {
            return bindGeneric(value, generic, known);
        }
        if (type instanceof GenericArrayType array) {
            return bindArray(value, array.getGenericComponentType(), rawClass(array.getGenericComponentType(), known),
                known);
        }
        if (type instanceof WildcardType wildcard) {
            return bind(value, wildcard.getUpperBounds()[0], known);
        }
        TypeVariable<?> variable = (TypeVariable<?>) type;
        Type meant = known.get(variable);
        return bind(value, meant != null && meant != type ? meant : variable.getBounds()[0], known);
    }

    private static Class<?> rawClass(Type type, Map<TypeVariable<?>, Type> known) {
        if (type instanceof Class<?> plain) {
            return plain;
        }
        if (type instanceof ParameterizedType generic) {
            return (Class<?>) generic.getRawType();
        }
        return type instanceof TypeVariable<?> && known.get(type) instanceof Class<?> meant ? meant : Object.class;
    }

    private static Object bindGeneric(Object value, ParameterizedType type, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        Class<?> raw = (Class<?>) type.getRawType();
        Type[] arguments = type.getActualTypeArguments();
        if (raw == Optional.class) {
            return Optional.ofNullable(bind(value, arguments[0], known));
        }
        if (value == null) {
            return null;
        }
        if (Map.class.isAssignableFrom(raw) && arguments.length == 2) {
            return bindMap(value, raw, arguments[0], arguments[1], known);
        }
        if (Iterable.class.isAssignableFrom(raw) && arguments.length == 1) {
            return bindCollection(value, raw, arguments[0], known);
        }
        Map<TypeVariable<?>, Type> inside = new HashMap<>(known);
        TypeVariable<?>[] variables = raw.getTypeParameters();
        for (int i = 0; i < variables.length; i++) {
            inside.put(variables[i], arguments[i] instanceof TypeVariable<?> outer ? known.get(outer) : arguments[i]);
        }
        return bindClass(value, raw, inside);
    }

    private static Object bindClass(Object value, Class<?> type, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        if (type == Object.class || value != null && isPlain(type) && type.isInstance(value)) {
            return value;
        }
        if (type.isPrimitive()) {
            return bindPrimitive(value == null ? (type == boolean.class ? (Object) false : (Object) 0) : value, type);
        }
        if (type == Optional.class) {
            return Optional.ofNullable(value);
        }
        if (value == null) {
            return null;
        }
        if (type == String.class || type == CharSequence.class) {
            return bindString(value, type);
        }
        if (Number.class.isAssignableFrom(type) || type == Boolean.class || type == Character.class) {
            return bindPrimitive(value, type);
        }
        if (type.isEnum()) {
            return bindEnum(value, type);
        }
        if (type.isArray()) {
            return bindArray(value, type.getComponentType(), type.getComponentType(), known);
        }
        if (Map.class.isAssignableFrom(type)) {
            return bindMap(value, type, String.class, Object.class, known);
        }
        if (Collection.class.isAssignableFrom(type) || type == Iterable.class) {
            return bindCollection(value, type, Object.class, known);
        }
        if (value instanceof Map<?, ?> object) {
            return type.isRecord() ? bindRecord(object, type, known) : bindBean(object, type, known);
        }
        return bindText(value, type);
    }

    /** Types of which the parser's own values are members. */
    private static boolean isPlain(Class<?> type) {
        return type == String.class || type == Integer.class || type == Long.class || type == Double.class
            || type == Boolean.class || type == Map.class || type == List.class || type == Number.class;
    }

    private static MismatchException mismatch(Object value, Type type) {
        String text = String.valueOf(value);
        return new MismatchException("an event has " + (text.length() > 80 ? text.substring(0, 80) + "..." : text)
            + " where " + type.getTypeName() + " is due");
    }

    private static String bindString(Object value, Type type) throws MismatchException {
        if (value instanceof Map || value instanceof List) {
            throw mismatch(value, type);
        }
        return value.toString();
    }

    private static Object bindPrimitive(Object value, Class<?> type) throws MismatchException {
        if (type == boolean.class || type == Boolean.class) {
            if (value instanceof Boolean) {
                return value;
            }
            if (value instanceof String text && (text.equals("true") || text.equals("false"))) {
                return Boolean.valueOf(text);
            }
            throw mismatch(value, type);
        }
        if (type == char.class || type == Character.class) {
            if (value instanceof String text && text.length() == 1) {
                return text.charAt(0);
            }
            if (value.equals(0)) {
                return '\0';
            }
            throw mismatch(value, type);
        }
        if (!(value instanceof Number) && !(value instanceof String)) {
            throw mismatch(value, type);
        }
        try {
            return bindNumber(value, type);
        } catch (ArithmeticException | NumberFormatException error) {
            throw mismatch(value, type);
        }
    }

    private static Object bindNumber(Object value, Class<?> type) throws MismatchException {
        if (type == double.class || type == Double.class) {
            return value instanceof Number number ? number.doubleValue() : Double.parseDouble((String) value);
        }
        if (type == float.class || type == Float.class) {
            return value instanceof Number number ? number.floatValue() : Float.parseFloat((String) value);
        }
        BigDecimal exact = value instanceof Number number ? JsonParser.toBigDecimal(number)
            : new BigDecimal((String) value);
        if (type == BigDecimal.class || type == Number.class) {
            return exact;
        }
        if (type == int.class || type == Integer.class) {
            return exact.intValueExact();
        }
        if (type == long.class || type == Long.class) {
            return exact.longValueExact();
        }
        if (type == BigInteger.class) {
            return exact.toBigIntegerExact();
        }
        if (type == short.class || type == Short.class) {
            return exact.shortValueExact();
        }
        if (type == byte.class || type == Byte.class) {
            return exact.byteValueExact();
        }
        throw mismatch(value, type);
    }

    private static Object bindEnum(Object value, Class<?> type) throws MismatchException {
        for (Object constant : type.getEnumConstants()) {
            if (((Enum<?>) constant).name().equals(value)) {
                return constant;
            }
        }
        throw mismatch(value, type);
    }

    private static Object bindArray(Object value, Type element, Class<?> raw, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        if (raw == byte.class && value instanceof String text) {
            return Base64.getDecoder().decode(text);
        }
        if (raw == char.class && value instanceof String text) {
            return text.toCharArray();
        }
        if (!(value instanceof List<?> list)) {
            throw mismatch(value, raw.arrayType());
        }
        Object array = Array.newInstance(raw, list.size());
        for (int i = 0; i < list.size(); i++) {
            Array.set(array, i, bind(list.get(i), element, known));
        }
        return array;
    }

    private static Object bindMap(Object value, Class<?> type, Type keyType, Type valueType,
                                  Map<TypeVariable<?>, Type> known)
                                      throws MismatchException, ReflectiveOperationException {
        if (!(value instanceof Map<?, ?> object)) {
            throw mismatch(value, type);
        }
        @SuppressWarnings("unchecked")
        Map<Object, Object> map = (Map<Object, Object>) newMap(type);
        for (Map.Entry<?, ?> entry : object.entrySet()) {
            map.put(bind(entry.getKey(), keyType, known), bind(entry.getValue(), valueType, known));
        }
        return map;
    }

    private static Object newMap(Class<?> type) throws ReflectiveOperationException {
        if (!Modifier.isAbstract(type.getModifiers())) {
            return type.getConstructor().newInstance();
        }
        return SortedMap.class.isAssignableFrom(type) ? new TreeMap<>() : new LinkedHashMap<>();
    }

    private static Object bindCollection(Object value, Class<?> type, Type element, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        if (!(value instanceof List<?> list)) {
            throw mismatch(value, type);
        }
        @SuppressWarnings("unchecked")
        Collection<Object> collection = (Collection<Object>) newCollection(type);
        for (Object each : list) {
            collection.add(bind(each, element, known));
        }
        return collection;
    }

    private static Object newCollection(Class<?> type) throws ReflectiveOperationException {
        if (!Modifier.isAbstract(type.getModifiers())) {
            return type.getConstructor().newInstance();
        }
        if (SortedSet.class.isAssignableFrom(type)) {
            return new TreeSet<>();
        }
        if (Set.class.isAssignableFrom(type)) {
            return new LinkedHashSet<>();
        }
        return Queue.class.isAssignableFrom(type) || type == Deque.class ? new ArrayDeque<>() : new ArrayList<>();
    }

    private static Object bindRecord(Map<?, ?> object, Class<?> type, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        RecordComponent[] components = type.getRecordComponents();
        Class<?>[] types = new Class<?>[components.length];
        Object[] values = new Object[components.length];
        for (int i = 0; i < components.length; i++) {
            types[i] = components[i].getType();
            values[i] = bind(object.get(components[i].getName()), components[i].getGenericType(), known);
        }
        Constructor<?> constructor = type.getDeclaredConstructor(types);
        constructor.trySetAccessible();
        return constructor.newInstance(values);
    }

    private static Object bindBean(Map<?, ?> object, Class<?> type, Map<TypeVariable<?>, Type> known)
        throws MismatchException, ReflectiveOperationException {
        Constructor<?> constructor = type.getDeclaredConstructor();
        constructor.trySetAccessible();
        Object bean = constructor.newInstance();
        Beans beans = Beans.of(type);
        for (Map.Entry<?, ?> member : object.entrySet()) {
            Beans.Setter setter = beans.setter((String) member.getKey());
            if (setter != null) {
                setter.set(bean, bind(member.getValue(), setter.type(), known));
            }
        }
        return bean;
    }

    /** Dates, UUIDs, URIs, paths and whatever else has a factory of one string. */
    private static Object bindText(Object value, Class<?> type) throws MismatchException, ReflectiveOperationException {
        if (type == Date.class) {
            return bindDate(value);
        }
        if (!(value instanceof String text)) {
            throw mismatch(value, type);
        }
        if (Temporal.class.isAssignableFrom(type) || TemporalAmount.class.isAssignableFrom(type)) {
            return type.getMethod("parse", CharSequence.class).invoke(null, text);
        }
        for (String factory : new String[] {"fromString", "valueOf", "of", "forLanguageTag", "getInstance"}) {
            Method method = findFactory(type, factory);
            if (method != null) {
                return method.isVarArgs() ? method.invoke(null, text, new String[0]) : method.invoke(null, text);
            }
        }
        return type.getConstructor(String.class).newInstance(text);
    }

    private static Method findFactory(Class<?> type, String name) {
        for (Method method : type.getMethods()) {
            Class<?>[] parameters = method.getParameterTypes();
            boolean takesText = parameters.length >= 1 && parameters[0] == String.class
                && (parameters.length == 1 || parameters.length == 2 && parameters[1] == String[].class);
            if (takesText && method.getName().equals(name) && Modifier.isStatic(method.getModifiers())
                && type.isAssignableFrom(method.getReturnType())) {
                return method;
            }
        }
        return null;
    }

    private static Date bindDate(Object value) throws MismatchException {
        if (value instanceof Number millis) {
            return new Date(millis.longValue());
        }
        try {
            return Date.from(OffsetDateTime.parse(value.toString()).toInstant());
        } catch (DateTimeException error) {
            throw mismatch(value, Date.class);
        }
    }
}
