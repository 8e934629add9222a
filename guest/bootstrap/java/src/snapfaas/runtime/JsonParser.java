package snapfaas.runtime;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Strict JSON (RFC 8259) in UTF-8. Values are Map (in the order of the text), List, String, Boolean, null, and of
 * numbers the smallest that holds them: Integer, Long, BigInteger; Double where there is a fraction or an exponent.
 */
final class JsonParser {
    /** So that no text can use up the stack. */
    private static final int MAX_DEPTH = 1000;

    /** More digits than a double can use; parsing a number takes time with the square of its length. */
    private static final int MAX_NUMBER_LENGTH = 1000;

    static final class SyntaxException extends Exception {
        private static final long serialVersionUID = 1;

        SyntaxException(String message) {
            super(message);
        }
    }

    private final byte[] text;
    private int at;
    private int depth;

    private JsonParser(byte[] text) {
        this.text = text;
    }

    static Object parse(byte[] text) throws SyntaxException {
        JsonParser parser = new JsonParser(text);
        Object value = parser.readValue();
        if (parser.peek() >= 0) {
            throw parser.error("something follows the value");
        }
        return value;
    }

    private SyntaxException error(String what) {
        return new SyntaxException(what + " at byte " + at);
    }

    /** The next byte that is no white space; -1 at the end. */
    private int peek() {
        for (; at < text.length; at++) {
            byte c = text[at];
            if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
                return c & 0xff;
            }
        }
        return -1;
    }

    private Object readValue() throws SyntaxException {
        int c = peek();
        switch (c) {
            case '{':
                return readObject();
            case '[':
                return readArray();
            case '"':
                return readString();
            case 't':
                return readWord("true", Boolean.TRUE);
            case 'f':
                return readWord("false", Boolean.FALSE);
            case 'n':
                return readWord("null", null);
            default:
                if (c == '-' || isDigit(c)) {
                    return readNumber();
                }
                throw error(c < 0 ? "the text ends where a value is due" : "no value");
        }
    }

    private Object readWord(String word, Object value) throws SyntaxException {
        for (int i = 0; i < word.length(); i++, at++) {
            if (at == text.length || text[at] != word.charAt(i)) {
                throw error("no value");
            }
        }
        return value;
    }

    private Map<String, Object> readObject() throws SyntaxException {
        enter();
        Map<String, Object> object = new LinkedHashMap<>();
        if (peek() == '}') {
            return leave(object);
        }
        for (;;) {
            if (peek() != '"') {
                throw error("no name of a member");
            }
            String name = readString();
            if (peek() != ':') {
                throw error("no colon");
            }
            at++;
            object.put(name, readValue());
            int c = peek();
            if (c == '}') {
                return leave(object);
            }
            if (c != ',') {
                throw error("neither a comma nor the end of an object");
            }
            at++;
        }
    }

    private List<Object> readArray() throws SyntaxException {
        enter();
        List<Object> array = new ArrayList<>();
        if (peek() == ']') {
            return leave(array);
        }
        for (;;) {
            array.add(readValue());
            int c = peek();
            if (c == ']') {
                return leave(array);
            }
            if (c != ',') {
                throw error("neither a comma nor the end of an array");
            }
            at++;
        }
    }

    private void enter() throws SyntaxException {
        if (++depth > MAX_DEPTH) {
            throw error("values nested too deeply");
        }
        at++;
    }

    private <T> T leave(T value) {
        depth--;
        at++;
        return value;
    }

    private String readString() throws SyntaxException {
        int start = ++at;
        boolean ascii = true;
        for (; at < text.length; at++) {
            byte c = text[at];
            if (c == '"') {
                String value = decode(start, at, ascii);
                at++;
                return value;
            }
            if (c == '\\') {
                return readEscapedString(start);
            }
            checkNoControl(c);
            ascii &= c >= 0;
        }
        throw error("a string without an end");
    }

    private void checkNoControl(byte c) throws SyntaxException {
        if (c >= 0 && c < ' ') {
            throw error("a control character in a string");
        }
    }

    /** From `start` on, with the first backslash at `at`. */
    private String readEscapedString(int start) throws SyntaxException {
        StringBuilder value = new StringBuilder();
        boolean ascii = false;
        int from = start;
        while (at < text.length) {
            byte c = text[at];
            if (c == '"') {
                value.append(decode(from, at++, ascii));
                return value.toString();
            }
            if (c == '\\') {
                value.append(decode(from, at++, ascii)).append(readEscape());
                from = at;
            } else {
                checkNoControl(c);
                at++;
            }
        }
        throw error("a string without an end");
    }

    private char readEscape() throws SyntaxException {
        if (at == text.length) {
            throw error("a string without an end");
        }
        byte c = text[at++];
        switch (c) {
            case '"', '\\', '/':
                return (char) c;
            case 'b':
                return '\b';
            case 'f':
                return '\f';
            case 'n':
                return '\n';
            case 'r':
                return '\r';
            case 't':
                return '\t';
            case 'u':
                return readUnit();
            default:
                throw error("an unknown escape");
        }
    }

    private char readUnit() throws SyntaxException {
        int unit = 0;
        for (int i = 0; i < 4; i++, at++) {
            int digit = at < text.length ? Character.digit(text[at], 16) : -1;
            if (digit < 0) {
                throw error("no hexadecimal digit");
            }
            unit = unit << 4 | digit;
        }
        return (char) unit;
    }

    private String decode(int start, int end, boolean ascii) throws SyntaxException {
        if (ascii) {
            return new String(text, start, end - start, StandardCharsets.ISO_8859_1);
        }
        try {
            return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(text, start, end - start)).toString();
        } catch (CharacterCodingException broken) {
            throw error("a string that is not UTF-8");
        }
    }

    private static boolean isDigit(int c) {
        return c >= '0' && c <= '9';
    }

    private boolean hasDigit() {
        return at < text.length && isDigit(text[at]);
    }

    private void skipDigits() throws SyntaxException {
        if (!hasDigit()) {
            throw error("no digit");
        }
        while (hasDigit()) {
            at++;
        }
    }

    private Number readNumber() throws SyntaxException {
        int start = at;
        if (text[at] == '-') {
            at++;
        }
        if (hasDigit() && text[at] == '0') {
            at++;
        } else {
            skipDigits();
        }
        boolean whole = true;
        if (at < text.length && text[at] == '.') {
            whole = false;
            at++;
            skipDigits();
        }
        if (at < text.length && (text[at] | 0x20) == 'e') {
            whole = false;
            at++;
            if (at < text.length && (text[at] == '+' || text[at] == '-')) {
                at++;
            }
            skipDigits();
        }
        if (at - start > MAX_NUMBER_LENGTH) {
            throw error("a number of too many digits");
        }
        String number = new String(text, start, at - start, StandardCharsets.ISO_8859_1);
        return whole ? wholeNumber(number) : (Number) Double.valueOf(number);
    }

    private static Number wholeNumber(String number) {
        if (number.length() > 18) {
            BigInteger big = new BigInteger(number);
            return big.bitLength() < Long.SIZE ? (Number) big.longValue() : big;
        }
        long value = Long.parseLong(number);
        return value == (int) value ? (Number) (int) value : (Number) value;
    }

    /** `number` as exactly as it was read. */
    static BigDecimal toBigDecimal(Number number) {
        return number instanceof BigInteger big ? new BigDecimal(big) : new BigDecimal(number.toString());
    }
}
