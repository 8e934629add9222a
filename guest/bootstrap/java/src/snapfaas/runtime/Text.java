package snapfaas.runtime;

import java.io.File;
import java.net.URI;
import java.net.URL;
import java.nio.file.Path;
import java.util.Currency;
import java.util.Locale;
import java.util.TimeZone;
import java.util.UUID;

/** Types whose JSON is the string that they say of themselves. */
final class Text {
    private static final Class<?>[] TYPES = {
        UUID.class, URI.class, URL.class, File.class, Path.class, Locale.class, Currency.class, TimeZone.class,
            Class.class,
    };

    private Text() {}

    static boolean isText(Class<?> type) {
        for (Class<?> text : TYPES) {
            if (text.isAssignableFrom(type)) {
                return true;
            }
        }
        return false;
    }
}
