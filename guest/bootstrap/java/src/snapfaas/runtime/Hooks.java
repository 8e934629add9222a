package snapfaas.runtime;

import java.util.ArrayList;
import java.util.List;
import snapfaas.Snapshot.Hook;

/** What functions have registered with snapfaas.Snapshot. */
public final class Hooks {
    public static final List<Hook> BEFORE_SNAPSHOT = new ArrayList<>();
    public static final List<Hook> AFTER_RESTORE = new ArrayList<>();

    private Hooks() {}

    /** In reverse order, as what was set up last is taken down first. */
    static void runBeforeSnapshot() throws LoadException {
        for (int i = BEFORE_SNAPSHOT.size() - 1; i >= 0; i--) {
            run(BEFORE_SNAPSHOT.get(i));
        }
    }

    static void runAfterRestore() throws LoadException {
        for (Hook hook : AFTER_RESTORE) {
            run(hook);
        }
    }

    private static void run(Hook hook) throws LoadException {
        try {
            hook.run();
        } catch (Throwable error) {
            throw new LoadException(Report.of(error, ""));
        }
    }
}
