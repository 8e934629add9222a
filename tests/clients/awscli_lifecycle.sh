#!/usr/bin/env bash
# The life of a function with Debian's own awscli, unmodified but for the endpoint; answers are asserted.
#
# Usage: awscli_lifecycle.sh ENDPOINT
#
# The node must have python3. Leaves nothing behind. Exit code 1 when something is not as AWS Lambda has it.
set -euo pipefail

endpoint=${1:?usage: awscli_lifecycle.sh ENDPOINT}
name=awscli-$$-$RANDOM
role=arn:aws:iam::000000000000:role/any
work=$(mktemp -d)

export AWS_ACCESS_KEY_ID=${AWS_ACCESS_KEY_ID:-test} AWS_SECRET_ACCESS_KEY=${AWS_SECRET_ACCESS_KEY:-test}
export AWS_DEFAULT_REGION=us-east-1 AWS_MAX_ATTEMPTS=1 AWS_PAGER=
# Nobody's own configuration has a say.
export AWS_CONFIG_FILE=$work/config AWS_SHARED_CREDENTIALS_FILE=$work/credentials

# Debian's, whatever else is in the PATH.
lambda() { /usr/bin/aws --endpoint-url "$endpoint" --output text --cli-read-timeout 300 lambda "$@"; }

cleanup() {
  local code=$?
  if [ $code -ne 0 ]; then lambda delete-function --function-name "$name" 2>/dev/null || true; fi
  rm -rf "$work"
  exit $code
}
trap cleanup EXIT

fail() {
  echo "awscli_lifecycle: $*" >&2
  exit 1
}

# equals WHAT EXPECTED ACTUAL
equals() { [ "$2" = "$3" ] || fail "$1: expected '$2', not '$3'"; }

# refused ERROR COMMAND...: the command fails with that error.
refused() {
  local error=$1 said
  shift
  if said=$("$@" 2>&1); then fail "$* should have failed with $error"; fi
  case $said in *"($error)"*) ;; *) fail "$* should have failed with $error, not: $said" ;; esac
}

# until_is VALUE QUERY [ARGUMENT...]: awscli's own waiters wait for 5 seconds between their looks.
until_is() {
  local value=$1 query=$2 seen
  shift 2
  for _ in $(seq 300); do
    seen=$(lambda get-function-configuration --function-name "$name" --query "$query" "$@")
    case $seen in
      "$value") return ;;
      Failed) fail "$query is Failed: $(lambda get-function-configuration --function-name "$name" "$@")" ;;
    esac
    sleep 0.5
  done
  fail "$query is $seen, not $value"
}

# zip_of RELEASE: makes RELEASE.zip.
zip_of() {
  /usr/bin/python3 - "$work/$1.zip" "$1" <<'PYTHON'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as archive:
    archive.writestr("app.py", f"def handler(event, context):\n    print('hello')\n"
                     f"    return {{'release': {sys.argv[2]}, 'event': event}}\n")
PYTHON
}

# invoke EXPECTED [ARGUMENT...]: with the event {"n":1}.
invoke() {
  local expected=$1
  shift
  lambda invoke --function-name "$name" --cli-binary-format raw-in-base64-out --payload '{"n":1}' "$@" \
    "$work/answer" >"$work/said"
  [ -z "$expected" ] || equals "answer" "$expected" "$(tr -d ' ' <"$work/answer")"
}

zip_of 1
zip_of 2

echo "create"
refused ResourceNotFoundException lambda get-function --function-name "$name"
equals "State" Pending "$(lambda create-function --function-name "$name" --runtime python3.11 --role $role \
  --handler app.handler --timeout 30 --zip-file "fileb://$work/1.zip" --tags team=clients --query State)"
until_is Active State
lambda wait function-active-v2 --function-name "$name"

echo "invoke"
invoke '{"release":1,"event":{"n":1}}'
invoke '' --invocation-type Event
equals "StatusCode of an event" 202 "$(cut -f1 "$work/said")"
invoke '' --invocation-type DryRun
equals "StatusCode of a dry run" 204 "$(cut -f1 "$work/said")"
log=$(lambda invoke --function-name "$name" --log-type Tail --query LogResult "$work/answer" | base64 -d)
case $log in *"START RequestId: "*hello*"REPORT RequestId: "*) ;; *) fail "the log's tail: $log" ;; esac

echo "update"
equals "LastUpdateStatus" InProgress "$(lambda update-function-code --function-name "$name" \
  --zip-file "fileb://$work/2.zip" --query LastUpdateStatus)"
until_is Successful LastUpdateStatus
invoke '{"release":2,"event":{"n":1}}'

echo "publish, alias"
equals "Version" 1 "$(lambda publish-version --function-name "$name" --query Version)"
until_is Active State --qualifier 1
lambda create-alias --function-name "$name" --name live --function-version 1 >"$work/said"
invoke '{"release":2,"event":{"n":1}}' --qualifier live
lambda update-function-code --function-name "$name" --zip-file "fileb://$work/1.zip" >"$work/said"
until_is Successful LastUpdateStatus
equals "Version" 2 "$(lambda publish-version --function-name "$name" --query Version)"
until_is Active State --qualifier 2
lambda update-alias --function-name "$name" --name live \
  --routing-config '{"AdditionalVersionWeights":{"2":1.0}}' >"$work/said"
invoke '{"release":1,"event":{"n":1}}' --qualifier live
lambda delete-alias --function-name "$name" --name live

echo "concurrency"
lambda put-function-concurrency --function-name "$name" --reserved-concurrent-executions 0 >"$work/said"
refused TooManyRequestsException lambda invoke --function-name "$name" "$work/answer"
lambda delete-function-concurrency --function-name "$name"
invoke '{"release":1,"event":{"n":1}}'

echo "list"
equals "versions" '$LATEST 1 2' "$(lambda list-versions-by-function --function-name "$name" --page-size 1 \
  --query 'Versions[].Version' | xargs echo)"
lambda list-functions --page-size 1 --query 'Functions[].FunctionName' | tr '\t' '\n' | grep -qx "$name" ||
  fail "list-functions does not know $name"

echo "settings"
equals "MaximumRetryAttempts" 0 "$(lambda put-function-event-invoke-config --function-name "$name" \
  --maximum-retry-attempts 0 --query MaximumRetryAttempts)"
lambda delete-function-event-invoke-config --function-name "$name"
url=$(lambda create-function-url-config --function-name "$name" --auth-type NONE --query FunctionUrl)
case $url in http*/) ;; *) fail "FunctionUrl: $url" ;; esac
lambda delete-function-url-config --function-name "$name"
arn=$(lambda get-function-configuration --function-name "$name" --query FunctionArn)
lambda tag-resource --resource "$arn" --tags stage=test
equals "tags" "clients test" "$(lambda list-tags --resource "$arn" --query '[Tags.team, Tags.stage]' | xargs echo)"
lambda untag-resource --resource "$arn" --tag-keys team stage
lambda add-permission --function-name "$name" --statement-id bucket --action lambda:InvokeFunction \
  --principal s3.amazonaws.com >"$work/said"
lambda get-policy --function-name "$name" --query Policy | grep -q '"Sid":"bucket"' ||
  fail "the policy has no statement"
lambda remove-permission --function-name "$name" --statement-id bucket
lambda get-account-settings >"$work/said"

echo "delete"
lambda delete-function --function-name "$name"
refused ResourceNotFoundException lambda get-function --function-name "$name"
echo "ok"
