package com.amazonaws.services.lambda.runtime;

/** The app that a mobile SDK speaks for. */
public interface Client {
    String getInstallationId();

    String getAppTitle();

    String getAppVersionName();

    String getAppVersionCode();

    String getAppPackageName();
}
