package com.amazonaws.services.lambda.runtime;

/** What a handler is told about its event, beside the event. */
public interface Context {
    String getAwsRequestId();

    String getLogGroupName();

    String getLogStreamName();

    String getFunctionName();

    String getFunctionVersion();

    String getInvokedFunctionArn();

    CognitoIdentity getIdentity();

    /** Null where the caller has sent none. */
    ClientContext getClientContext();

    int getRemainingTimeInMillis();

    int getMemoryLimitInMB();

    LambdaLogger getLogger();

    /** Null: no function here has tenants. */
    default String getTenantId() {
        return null;
    }
}
