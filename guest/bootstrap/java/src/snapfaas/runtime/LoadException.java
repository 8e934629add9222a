package snapfaas.runtime;

/** The function cannot be loaded. */
final class LoadException extends Exception {
    private static final long serialVersionUID = 1;

    /** What to answer with. */
    final transient Report report;

    LoadException(Report report) {
        super(report.message());
        this.report = report;
    }

    LoadException(String type, String message) {
        this(new Report(type, message, ""));
    }
}
