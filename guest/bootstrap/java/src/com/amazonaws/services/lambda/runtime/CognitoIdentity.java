package com.amazonaws.services.lambda.runtime;

/** Nobody's: there is no Cognito here. */
public interface CognitoIdentity {
    String getIdentityId();

    String getIdentityPoolId();
}
