package com.amazonaws.services.lambda.runtime.logging;

/** How much an entry of the log matters. */
public enum LogLevel { UNDEFINED, TRACE, DEBUG, INFO, WARN, ERROR, FATAL }
