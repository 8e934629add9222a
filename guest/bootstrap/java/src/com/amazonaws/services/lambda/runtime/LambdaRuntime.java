package com.amazonaws.services.lambda.runtime;

/** The logger, for code that has no Context. */
public final class LambdaRuntime {
    private static final LambdaLogger LOGGER = new LambdaLogger() {
        @Override
        public void log(String message) {
            // An entry of the log is a line at least.
            if (message != null && message.endsWith("\n")) {
                System.out.print(message);
            } else {
                System.out.println(message);
            }
        }

        @Override
        public void log(byte[] message) {
            System.out.write(message, 0, message.length);
            System.out.flush();
        }
    };

    private LambdaRuntime() {}

    public static LambdaLogger getLogger() {
        return LOGGER;
    }
}
