package com.amazonaws.services.lambda.runtime;

/** A function of an event that is a {@code Request}, answered by a {@code Response}. */
public interface RequestHandler<Request, Response> {
    Response handleRequest(Request event, Context context);
}
