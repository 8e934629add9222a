package snapfaas;

import snapfaas.runtime.Hooks;

/**
 * What a function wants done around the snapshot that is taken of it once it is loaded: registered in its static
 * initialiser or in its constructor.
 *
 * <pre>
 * Snapshot.beforeSnapshot(connection::close);
 * Snapshot.afterRestore(() -> connection = open());
 * </pre>
 */
public final class Snapshot {
    private Snapshot() {}

    /** A hook that throws makes the function one that cannot be loaded. */
    @FunctionalInterface
    public interface Hook {
        void run() throws Exception;
    }

    /** Runs before the snapshot; what was registered last, first. */
    public static void beforeSnapshot(Hook hook) {
        Hooks.BEFORE_SNAPSHOT.add(hook);
    }

    /** Runs in each microVM that comes of the snapshot, before its first event; in the order of registration. */
    public static void afterRestore(Hook hook) {
        Hooks.AFTER_RESTORE.add(hook);
    }
}
