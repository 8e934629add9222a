package snapfaas.runtime;

import java.lang.reflect.Array;
import java.nio.charset.StandardCharsets;
import java.time.temporal.TemporalAccessor;
import java.time.temporal.TemporalAmount;
import java.util.Arrays;
import java.util.Base64;
import java.util.Calendar;
import java.util.Date;
import java.util.Iterator;
import java.util.Map;
import java.util.Optional;

/** Writes values as JSON in UTF-8: what a handler may answer. */
final class JsonWriter {
    /** So that an object that holds itself is told of, and does not use up the stack. */
    private static final int MAX_DEPTH = 1000;

    private static final byte[] HEX = "0123456789abcdef".getBytes(StandardCharsets.ISO_8859_1);

    static final class UnwritableException extends Exception {
        private static final long serialVersionUID = 1;

        UnwritableException(String message) {
            super(message);
        }
    }

    private final int limit;
    private byte[] bytes = new byte[512];
    private long length;
    private int depth;

    /** What goes beyond `limit` bytes is counted and not kept. */
    JsonWriter(int limit) {
        this.limit = limit;
    }

    /** How much was written, within the limit or not. */
    long length() {
        return length;
    }

    /** The text, in the first length() bytes. REQUIRES: it is within the limit. */
    byte[] bytes() {
        return bytes;
    }

    void write(Object value) throws UnwritableException, ReflectiveOperationException {
        if (value == null) {
            ascii("null");
        } else if (value instanceof CharSequence || value instanceof Character) {
            string(value.toString());
        } else if (value instanceof Number number) {
            number(number);
        } else if (value instanceof Boolean) {
            ascii(value.toString());
        } else if (value instanceof Map<?, ?> map) {
            object(map);
        } else if (value instanceof Iterable<?> values && !(value instanceof java.nio.file.Path)) {
            array(values.iterator());
        } else if (value instanceof Enum<?> constant) {
            string(constant.name());
        } else if (value.getClass().isArray()) {
            array(value);
        } else {
            other(value);
        }
    }

    private void other(Object value) throws UnwritableException, ReflectiveOperationException {
        if (value instanceof Optional<?> optional) {
            write(optional.orElse(null));
        } else if (value instanceof Date date) {
            ascii(Long.toString(date.getTime()));
        } else if (value instanceof Calendar calendar) {
            ascii(Long.toString(calendar.getTimeInMillis()));
        } else if (value instanceof TemporalAccessor || value instanceof TemporalAmount
            || Text.isText(value.getClass())) {
            string(value instanceof Class<?> type ? type.getName() : value.toString());
        } else {
            bean(value);
        }
    }

    private void number(Number number) throws UnwritableException {
        if (number instanceof Double || number instanceof Float) {
            if (!Double.isFinite(number.doubleValue())) {
                throw new UnwritableException("JSON has no number " + number);
            }
        }
        ascii(number.toString());
    }

    private void object(Map<?, ?> map) throws UnwritableException, ReflectiveOperationException {
        enter('{');
        boolean first = true;
        for (Map.Entry<?, ?> entry : map.entrySet()) {
            if (entry.getKey() == null) {
                throw new UnwritableException("a map has the key null");
            }
            member(entry.getKey() instanceof Enum<?> key ? key.name() : entry.getKey().toString(), first);
            write(entry.getValue());
            first = false;
        }
        leave('}');
    }

    private void bean(Object value) throws UnwritableException, ReflectiveOperationException {
        Beans.Getter[] getters = Beans.of(value.getClass()).getters();
        if (getters.length == 0) {
            throw new UnwritableException("an object of " + value.getClass() + " has no properties");
        }
        enter('{');
        for (int i = 0; i < getters.length; i++) {
            member(getters[i].name(), i == 0);
            write(getters[i].get(value));
        }
        leave('}');
    }

    private void member(String name, boolean first) {
        if (!first) {
            put(',');
        }
        string(name);
        put(':');
    }

    private void array(Iterator<?> values) throws UnwritableException, ReflectiveOperationException {
        enter('[');
        for (boolean first = true; values.hasNext(); first = false) {
            if (!first) {
                put(',');
            }
            write(values.next());
        }
        leave(']');
    }

    private void array(Object values) throws UnwritableException, ReflectiveOperationException {
        if (values instanceof byte[] data) {
            string(new String(Base64.getEncoder().encode(data), StandardCharsets.ISO_8859_1));
        } else if (values instanceof char[] text) {
            string(new String(text));
        } else {
            enter('[');
            for (int i = 0, count = Array.getLength(values); i < count; i++) {
                if (i > 0) {
                    put(',');
                }
                write(Array.get(values, i));
            }
            leave(']');
        }
    }

    private void enter(char bracket) throws UnwritableException {
        if (++depth > MAX_DEPTH) {
            throw new UnwritableException("values nested too deeply, or an object that holds itself");
        }
        put(bracket);
    }

    private void leave(char bracket) {
        depth--;
        put(bracket);
    }

    private void string(String text) {
        put('"');
        int i = 0;
        for (int count = text.length(); i < count; i++) {
            char c = text.charAt(i);
            if (c >= 0x80) {
                break;
            }
            character(c);
        }
        if (i < text.length()) {
            beyondAscii(text, i);
        }
        put('"');
    }

    private void character(char c) {
        if (c >= ' ' && c != '"' && c != '\\') {
            put(c);
            return;
        }
        put('\\');
        switch (c) {
            case '"', '\\' -> put(c);
            case '\n' -> put('n');
            case '\r' -> put('r');
            case '\t' -> put('t');
            case '\b' -> put('b');
            case '\f' -> put('f');
            default -> unit(c);
        }
    }

    private void unit(char c) {
        put('u');
        for (int shift = 12; shift >= 0; shift -= 4) {
            put((char) HEX[c >> shift & 15]);
        }
    }

    private void beyondAscii(String text, int i) {
        for (int count = text.length(); i < count; i++) {
            char c = text.charAt(i);
            if (c < 0x80) {
                character(c);
            } else if (c < 0x800) {
                put((char) (0xc0 | c >> 6));
                put((char) (0x80 | c & 0x3f));
            } else if (Character.isHighSurrogate(c) && i + 1 < count && Character.isLowSurrogate(text.charAt(i + 1))) {
                int point = Character.toCodePoint(c, text.charAt(++i));
                put((char) (0xf0 | point >> 18));
                put((char) (0x80 | point >> 12 & 0x3f));
                put((char) (0x80 | point >> 6 & 0x3f));
                put((char) (0x80 | point & 0x3f));
            } else if (Character.isSurrogate(c)) {
                // Half a character has no UTF-8.
                put('\\');
                unit(c);
            } else {
                put((char) (0xe0 | c >> 12));
                put((char) (0x80 | c >> 6 & 0x3f));
                put((char) (0x80 | c & 0x3f));
            }
        }
    }

    private void ascii(String text) {
        for (int i = 0, count = text.length(); i < count; i++) {
            put(text.charAt(i));
        }
    }

    private void put(char c) {
        if (length < limit) {
            if (length == bytes.length) {
                bytes = Arrays.copyOf(bytes, (int) Math.min(limit, 2L * bytes.length));
            }
            bytes[(int) length] = (byte) c;
        }
        length++;
    }
}
