package snapfaas.runtime;

import com.amazonaws.services.lambda.runtime.Client;
import com.amazonaws.services.lambda.runtime.ClientContext;
import com.amazonaws.services.lambda.runtime.CognitoIdentity;
import com.amazonaws.services.lambda.runtime.Context;
import com.amazonaws.services.lambda.runtime.LambdaLogger;
import com.amazonaws.services.lambda.runtime.LambdaRuntime;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;

/** Of a deployed function the environment says what the host does not. */
final class LambdaContext implements Context {
    private record KnownClient(Map<?, ?> values) implements Client {
        @Override
        public String getInstallationId() {
            return text(values.get("installation_id"));
        }

        @Override
        public String getAppTitle() {
            return text(values.get("app_title"));
        }

        @Override
        public String getAppVersionName() {
            return text(values.get("app_version_name"));
        }

        @Override
        public String getAppVersionCode() {
            return text(values.get("app_version_code"));
        }

        @Override
        public String getAppPackageName() {
            return text(values.get("app_package_name"));
        }
    }

    private record KnownClientContext(Map<?, ?> values) implements ClientContext {
        @Override
        public Client getClient() {
            return values.get("client") instanceof Map<?, ?> client ? new KnownClient(client) : null;
        }

        @Override
        public Map<String, String> getCustom() {
            return texts(values.get("custom"));
        }

        @Override
        public Map<String, String> getEnvironment() {
            return texts(values.get("env"));
        }
    }

    private enum Nobody implements CognitoIdentity {
        INSTANCE;

        @Override
        public String getIdentityId() {
            return null;
        }

        @Override
        public String getIdentityPoolId() {
            return null;
        }
    }

    private final Map<?, ?> values;
    private String requestId;

    LambdaContext(Map<?, ?> values) {
        this.values = values;
        requestId = text(values.get("requestId"));
    }

    private static String text(Object value) {
        return value == null ? null : value.toString();
    }

    private static Map<String, String> texts(Object value) {
        Map<String, String> texts = new LinkedHashMap<>();
        if (value instanceof Map<?, ?> map) {
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                texts.put(text(entry.getKey()), text(entry.getValue()));
            }
        }
        return texts;
    }

    private String known(String member, String variable, String otherwise) {
        String value = text(values.get(member));
        if (value == null || value.isEmpty()) {
            value = System.getenv(variable);
        }
        return value == null ? otherwise : value;
    }

    @Override
    public String getAwsRequestId() {
        if (requestId == null || requestId.isEmpty()) {
            requestId = UUID.randomUUID().toString();
        }
        return requestId;
    }

    @Override
    public String getFunctionName() {
        return known("functionName", "AWS_LAMBDA_FUNCTION_NAME", "function");
    }

    @Override
    public String getFunctionVersion() {
        return known("functionVersion", "AWS_LAMBDA_FUNCTION_VERSION", "$LATEST");
    }

    @Override
    public String getInvokedFunctionArn() {
        return known("invokedFunctionArn", "", "");
    }

    @Override
    public int getMemoryLimitInMB() {
        try {
            return Integer.parseInt(known("memoryLimitInMB", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "0"));
        } catch (NumberFormatException unknown) {
            return 0;
        }
    }

    @Override
    public String getLogGroupName() {
        return known("", "AWS_LAMBDA_LOG_GROUP_NAME", "/aws/lambda/" + getFunctionName());
    }

    @Override
    public String getLogStreamName() {
        String name = System.getenv("AWS_LAMBDA_LOG_STREAM_NAME");
        return name != null ? name
            : Environment.logStreamName(getFunctionVersion(), getAwsRequestId().replace("-", ""));
    }

    @Override
    public CognitoIdentity getIdentity() {
        return Nobody.INSTANCE;
    }

    @Override
    public ClientContext getClientContext() {
        return values.get("clientContext") instanceof Map<?, ?> said ? new KnownClientContext(said) : null;
    }

    @Override
    public int getRemainingTimeInMillis() {
        if (!(values.get("deadlineMs") instanceof Number deadline)) {
            return 0;
        }
        long left = (long) (deadline.doubleValue() - System.currentTimeMillis());
        return (int) Math.max(0, Math.min(Integer.MAX_VALUE, left));
    }

    @Override
    public LambdaLogger getLogger() {
        return LambdaRuntime.getLogger();
    }
}
