package com.amazonaws.services.lambda.runtime;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;

/** A function of the event's bytes; it writes the bytes of its answer. */
public interface RequestStreamHandler {
    void handleRequest(InputStream event, OutputStream answer, Context context) throws IOException;
}
