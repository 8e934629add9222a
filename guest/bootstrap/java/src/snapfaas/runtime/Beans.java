package snapfaas.runtime;

import java.lang.reflect.AccessibleObject;
import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Member;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.WeakHashMap;

/**
 * The properties of plain classes, as JavaBeans have them: getters and setters, public fields, components of records.
 * A property's name is that of its methods with the first letter small (but "URL" of "getURL").
 */
final class Beans {
    private static final Map<Class<?>, Beans> KNOWN = new WeakHashMap<>();

    /** What gives the value of a property: a method or a field. */
    record Getter(String name, Member member) {
        Object get(Object bean) throws ReflectiveOperationException {
            try {
                return member instanceof Method method ? method.invoke(bean) : ((Field) member).get(bean);
            } catch (InvocationTargetException error) {
                throw new ReflectiveOperationException("the property " + name + " threw " + error.getCause(), error);
            }
        }
    }

    /** What takes the value of a property. */
    record Setter(String name, Type type, Member member) {
        void set(Object bean, Object value) throws ReflectiveOperationException {
            if (member instanceof Method method) {
                method.invoke(bean, value);
            } else {
                ((Field) member).set(bean, value);
            }
        }
    }

    private final Map<String, Getter> getters = new LinkedHashMap<>();
    private final Map<String, Setter> setters = new LinkedHashMap<>();
    private Getter[] getterList;

    private Beans(Class<?> type) {
        if (type.isRecord()) {
            for (RecordComponent component : type.getRecordComponents()) {
                addGetter(component.getName(), component.getAccessor());
            }
            return;
        }
        addMethods(type);
        for (Field field : type.getFields()) {
            if (!Modifier.isStatic(field.getModifiers())) {
                addGetter(field.getName(), field);
                if (!Modifier.isFinal(field.getModifiers())) {
                    addSetter(field.getName(), field.getGenericType(), field);
                }
            }
        }
    }

    static synchronized Beans of(Class<?> type) {
        Beans beans = KNOWN.get(type);
        if (beans == null) {
            beans = new Beans(type);
            KNOWN.put(type, beans);
        }
        return beans;
    }

    Getter[] getters() {
        if (getterList == null) {
            getterList = getters.values().toArray(new Getter[0]);
        }
        return getterList;
    }

    /** Where no property has the name, one that has it in other letters; null where there is none either. */
    Setter setter(String name) {
        Setter setter = setters.get(name);
        if (setter == null) {
            for (Setter other : setters.values()) {
                if (other.name().equalsIgnoreCase(name)) {
                    return other;
                }
            }
        }
        return setter;
    }

    private void addMethods(Class<?> type) {
        // The order of getMethods is the JVM's; the fields give the order in which a person has written them.
        for (Class<?> at = type; at != null && at != Object.class; at = at.getSuperclass()) {
            for (Field field : at.getDeclaredFields()) {
                String name = field.getName();
                String suffix = Character.toUpperCase(name.charAt(0)) + name.substring(1);
                for (String prefix : new String[] {"get", "is"}) {
                    addMethod(type, prefix + suffix);
                }
            }
        }
        for (Method method : type.getMethods()) {
            addMethod(method);
        }
    }

    private void addMethod(Class<?> type, String name) {
        try {
            addMethod(type.getMethod(name));
        } catch (NoSuchMethodException absent) {
            // a field without a getter
        }
    }

    private void addMethod(Method method) {
        if (method.getDeclaringClass() == Object.class || Modifier.isStatic(method.getModifiers())
            || method.isBridge()) {
            return;
        }
        String name = method.getName();
        int parameters = method.getParameterCount();
        Class<?> result = method.getReturnType();
        if (parameters == 0 && name.length() > 3 && name.startsWith("get") && result != void.class) {
            addGetter(propertyName(name, 3), method);
        } else if (parameters == 0 && name.length() > 2 && name.startsWith("is") && result == boolean.class) {
            addGetter(propertyName(name, 2), method);
        } else if (parameters == 1 && name.length() > 3 && name.startsWith("set")) {
            addSetter(propertyName(name, 3), method.getGenericParameterTypes()[0], method);
        }
    }

    private void addGetter(String name, Member member) {
        open((AccessibleObject) member);
        getters.putIfAbsent(name, new Getter(name, member));
    }

    private void addSetter(String name, Type type, Member member) {
        open((AccessibleObject) member);
        setters.putIfAbsent(name, new Setter(name, type, member));
    }

    /** The class itself need not be public. */
    private static void open(AccessibleObject member) {
        member.trySetAccessible();
    }

    private static String propertyName(String method, int prefix) {
        boolean isAcronym = method.length() > prefix + 1 && Character.isUpperCase(method.charAt(prefix + 1));
        return isAcronym && Character.isUpperCase(method.charAt(prefix)) ? method.substring(prefix)
            : Character.toLowerCase(method.charAt(prefix)) + method.substring(prefix + 1);
    }
}
