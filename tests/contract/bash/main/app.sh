# Standard output is the answer, so what the contract has printed there goes to standard error too.

seen=0

case_echo() {
  jq -c '{echo: .value}'
}

case_raise() {
  raise WantedError 'wanted: ä'
}

case_log() {
  local lines line
  lines=$(jq .lines)
  for ((line = 1; line <= lines; ++line)); do
    printf 'out %d\n' "$line" >&2
    printf 'err %d\n' "$line" >&2
  done
}

case_large() {
  local length bytes text=x
  read -r length bytes <<<"$(jq -r '[(.padding | length), .bytes] | @tsv')"
  while ((${#text} < bytes)); do
    text+=$text
  done
  printf '{"length":%d,"text":"%s"}' "$length" "${text:0:bytes}"
}

case_context() {
  local remaining
  get_remaining_time_in_millis -v remaining
  jq -n --argjson remaining "$remaining" --argjson client "${LAMBDA_RUNTIME_CLIENT_CONTEXT:-null}" '{
    requestId: env.LAMBDA_RUNTIME_AWS_REQUEST_ID,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    memory: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    arn: env.LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN,
    remaining: $remaining,
    logStream: env.AWS_LAMBDA_LOG_STREAM_NAME,
    custom: $client.custom
  }'
}

case_environment() {
  jq -n '{
    handler: env._HANDLER,
    region: env.AWS_REGION,
    value: env.CONTRACT_VALUE,
    cwd: env.PWD,
    root: env.LAMBDA_TASK_ROOT
  }'
}

case_tmp() {
  printf x >>/tmp/contract
  printf '{"bytes":%d}' "$(stat -c %s /tmp/contract)"
}

case_sleep() {
  local seconds
  seconds=$(jq .seconds)
  sleep "$seconds"
  printf '{"slept":%s}' "$seconds"
}

case_memory() {
  local block kept=()
  printf -v block '%1048576d' 0
  while :; do
    kept+=("$block")
  done
}

case_exit() {
  exit 3
}

case_signal() {
  kill -SEGV $$
}

case_count() {
  printf '{"count":%d}' "$seen"
}

handler() {
  local name
  seen=$((seen + 1))
  name=$(jq -r .case <<<"$1")
  "case_$name"
}
