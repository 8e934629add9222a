# The bash bootstrap: docs/guest_contract.md, "Agent and bootstrap" and "Request channel".
#
# Started once, before the snapshot; everything up to the line "ready" is in the snapshot. What comes after it runs in
# every restored VM while a caller waits: builtins only, no fork, no exec, and so no $(command).
#
# A function is sourced into this shell, and its handler runs in it. So all names here have a prefix, but for those that
# are meant for functions: raise, register_before_snapshot, register_after_restore, get_remaining_time_in_millis. What a
# function sets in the shell is put aside while this code runs: options by __snapfaas_guarded, IFS and LC_ALL by a local
# in each function here that depends on them. In LC_ALL=C lengths are bytes.
#
# A NUL byte, which JSON cannot have, is dropped by bash: an event with one cannot be framed.

readonly __snapfaas_channel=3 __snapfaas_control_in=4 __snapfaas_control_out=5

readonly __snapfaas_task_root=/srv
# The same folder by the name that AWS Lambda gives it, and what is in that of a deployed function alone: how to run it.
readonly __snapfaas_lambda_task_root=/var/task
readonly __snapfaas_configuration=.snapfaas/function.json
readonly __snapfaas_runtime_folder=/usr/lib/snapfaas
# Files in memory: the handler's standard output; what a subshell has to say of its failure; bash's words on a syntax
# error. A pipe would need somebody to read it meanwhile.
readonly __snapfaas_output=/run/snapfaas-output __snapfaas_raised=/run/snapfaas-raised
readonly __snapfaas_syntax=/run/snapfaas-syntax
# src/wire/frame.h: kMaxFrameBytes; AWS Lambda's limit for a response.
readonly __snapfaas_max_frame=$((6291556 + 64 * 1024)) __snapfaas_max_response=6291556
# An error report must fit a frame whatever a function puts into it.
readonly __snapfaas_max_message=$((64 * 1024)) __snapfaas_max_stack=100 __snapfaas_max_line=4096

# The type of an error that nobody has named: a command, the handler itself maybe, has ended with a status other than 0.
readonly __snapfaas_plain_error=CommandFailed

# UTF-8, and the tokens of JSON, for LC_ALL=C.
printf -v __snapfaas_is_utf8 %b '^([\x01-\x7f]|[\xc2-\xdf][\x80-\xbf]|\xe0[\xa0-\xbf][\x80-\xbf]' \
  '|[\xe1-\xec\xee\xef][\x80-\xbf][\x80-\xbf]|\xed[\x80-\x9f][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf][\x80-\xbf]' \
  '|[\xf1-\xf3][\x80-\xbf][\x80-\xbf][\x80-\xbf]|\xf4[\x80-\x8f][\x80-\xbf][\x80-\xbf])*$'
__snapfaas_token=$'^[ \t\r\n]*("([^"\\\\]|\\\\.)*"|[][{}:,]|[-+.0-9A-Za-z]+)'
__snapfaas_scalar=$'^[ \t\r]*(""|true|false|null|-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?)[ \t\r]*$'
# Control characters and what JSON has for them.
__snapfaas_controls=() __snapfaas_escapes=()
for ((__snapfaas_code = 1; __snapfaas_code < 32; ++__snapfaas_code)); do
  printf -v '__snapfaas_escapes[__snapfaas_code]' '\\u%04x' "$__snapfaas_code"
  printf -v '__snapfaas_controls[__snapfaas_code]' %b "\\x${__snapfaas_escapes[__snapfaas_code]: -2}"
done
unset __snapfaas_code
__snapfaas_escapes[9]='\t' __snapfaas_escapes[10]='\n' __snapfaas_escapes[13]='\r'

# ---- JSON ------------------------------------------------------------------------------------------------------------
# What these functions answer they leave in __snapfaas_reply.

# $1 as the inside of a string of JSON.
__snapfaas_escape() {
  local LC_ALL=C text=$1 piece code offset
  __snapfaas_reply=
  # In pieces, as a substitution's time grows with the square of what it replaces.
  for ((offset = 0; offset < ${#text}; offset += 2048)); do
    piece=${text:offset:2048}
    piece=${piece//\\/\\\\}
    piece=${piece//\"/\\\"}
    if [[ $piece == *[$'\x01'-$'\x1f']* ]]; then
      for code in "${!__snapfaas_controls[@]}"; do
        piece=${piece//"${__snapfaas_controls[code]}"/"${__snapfaas_escapes[code]}"}
      done
    fi
    __snapfaas_reply+=$piece
  done
}

# The character of code point $1 in UTF-8.
__snapfaas_character() {
  local code=$1 bytes
  if ((code < 0x80)); then
    printf -v bytes '\\x%02x' "$code"
  elif ((code < 0x800)); then
    printf -v bytes '\\x%02x' $((0xc0 | code >> 6)) $((0x80 | code & 0x3f))
  elif ((code < 0x10000)); then
    printf -v bytes '\\x%02x' $((0xe0 | code >> 12)) $((0x80 | code >> 6 & 0x3f)) $((0x80 | code & 0x3f))
  else
    printf -v bytes '\\x%02x' $((0xf0 | code >> 18)) $((0x80 | code >> 12 & 0x3f)) $((0x80 | code >> 6 & 0x3f)) \
      $((0x80 | code & 0x3f))
  fi
  printf -v __snapfaas_reply %b "$bytes"
}

# What the token $1 of JSON says: a string without its quotes and escapes, anything else as it is, null as nothing.
__snapfaas_text_of() {
  local LC_ALL=C rest text= code low
  case $1 in
    null) __snapfaas_reply= && return ;;
    \"*\") rest=${1:1:-1} ;;
    *) __snapfaas_reply=$1 && return ;;
  esac
  while [[ $rest == *\\* ]]; do
    text+=${rest%%\\*}
    rest=${rest#*\\}
    case $rest in
      b*) text+=$'\b' ;;
      f*) text+=$'\f' ;;
      n*) text+=$'\n' ;;
      r*) text+=$'\r' ;;
      t*) text+=$'\t' ;;
      u[[:xdigit:]][[:xdigit:]][[:xdigit:]][[:xdigit:]]*)
        code=$((16#${rest:1:4})) rest=${rest:4}
        if ((code >= 0xd800 && code < 0xdc00)) && [[ $rest == ?\\u[dD][c-fC-F][[:xdigit:]][[:xdigit:]]* ]]; then
          low=$((16#${rest:3:4})) rest=${rest:6}
          code=$((0x10000 + (code - 0xd800) * 0x400 + low - 0xdc00))
        elif ((code >= 0xd800 && code < 0xe000)); then
          code=0xfffd # half a character: it has no UTF-8
        fi
        __snapfaas_character "$code"
        text+=$__snapfaas_reply
        ;;
      *) text+=${rest:0:1} ;;
    esac
    rest=${rest:1}
  done
  __snapfaas_reply=$text$rest
}

# The members of the JSON object $1, into the associative array __snapfaas_members: values as they stand there. False if
# it is no object. For texts of a few kilobytes: what bash takes for each token grows with what is left.
__snapfaas_read_object() {
  local LC_ALL=C rest=$1 depth=0 state=key key= value= token
  declare -gA __snapfaas_members=()
  while [[ $rest =~ $__snapfaas_token ]]; do
    token=${BASH_REMATCH[1]} rest=${rest:${#BASH_REMATCH[0]}}
    if ((depth == 0)); then
      [[ $token == '{' ]] || return
      depth=1
      continue
    fi
    if ((depth == 1)); then
      case $state$token in
        key\"*) key=$token state=colon && continue ;;
        colon:) state=value && continue ;;
        key\} | comma\} | comma,)
          if [[ $state == comma ]]; then
            __snapfaas_text_of "$key"
            [[ -z $__snapfaas_reply ]] || __snapfaas_members[$__snapfaas_reply]=$value
          fi
          [[ $token == , ]] || break
          value= state=key
          continue
          ;;
        value[][\{\"tfn0-9-]*) state=comma ;;
        *) return 1 ;;
      esac
    fi
    value+=$token
    case $token in
      '{' | '[') depth=$((depth + 1)) ;;
      '}' | ']') depth=$((depth - 1)) ;;
    esac
  done
  [[ ${token-} == '}' && $depth == 1 && $rest != *[!$' \t\r\n']* ]]
}

# The member $1 of what was read, or $2.
__snapfaas_member() {
  __snapfaas_text_of "${__snapfaas_members[$1]-null}"
  __snapfaas_reply=${__snapfaas_reply:-${2-}}
}

# ---- the channel and the control pipes -------------------------------------------------------------------------------

__snapfaas_die() {
  printf 'snapfaas-bootstrap: %s\n' "$1" >&2
  exit 1
}

# A virtio port reads as ended while no host is connected to it; the host may come back. The agent says nothing while
# events are answered, so to wait for it is to sleep, without a process.
__snapfaas_nap() {
  local ignored milliseconds=$((1000 + __snapfaas_pause))
  __snapfaas_pause=$((__snapfaas_pause < 25 ? 2 * __snapfaas_pause : 50))
  read -r -t "0.${milliseconds:1}" -N 1 -u "$__snapfaas_control_in" ignored
}

# The next frame's kind and payload, into __snapfaas_kind and __snapfaas_payload.
__snapfaas_read_frame() {
  local LC_ALL=C IFS= header= piece size
  __snapfaas_pause=1
  until read -r -n 64 -u "$__snapfaas_channel" piece; do
    header+=$piece
    __snapfaas_nap
  done
  header+=$piece
  [[ $header =~ ^([a-z-]+)\ ([0-9]{1,9})$ ]] || __snapfaas_die 'the host sent a malformed frame header'
  __snapfaas_kind=${BASH_REMATCH[1]} size=$((10#${BASH_REMATCH[2]}))
  ((size <= __snapfaas_max_frame)) || __snapfaas_die 'the host sent a malformed frame header'
  __snapfaas_payload=
  __snapfaas_pause=1
  while ((size > 0)); do
    read -r -N "$size" -u "$__snapfaas_channel" piece || __snapfaas_nap
    __snapfaas_payload+=$piece
    size=$((size - ${#piece}))
  done
}

# The frame of kind $1 with the payload $2.
__snapfaas_write_frame() {
  local LC_ALL=C
  printf '%s %d\n%s' "$1" "${#2}" "$2" >&"$__snapfaas_channel"
}

__snapfaas_say() {
  printf '%s\n' "$1" >&"$__snapfaas_control_out"
}

# Into __snapfaas_reply.
__snapfaas_hear() {
  IFS= read -r -u "$__snapfaas_control_in" __snapfaas_reply || __snapfaas_die 'the agent is gone'
}

# ---- failures of the function's code ---------------------------------------------------------------------------------
# What went wrong last: __snapfaas_error_type, _message, _status and _stack, an array. A type is there if the function
# has said itself, by raise, that it fails.

# The stack of the function alone, innermost first, into __snapfaas_stack: from the caller's caller on, which is at
# line $1.
__snapfaas_take_stack() {
  local line=$1 frame
  __snapfaas_stack=()
  for ((frame = 2; frame < ${#FUNCNAME[@]}; ++frame)); do
    [[ ${FUNCNAME[frame]} != __snapfaas_* ]] || break
    if ((frame - 2 == __snapfaas_max_stack)); then
      __snapfaas_stack+=(...)
      break
    fi
    __snapfaas_stack+=("${BASH_SOURCE[frame]}:$line: in ${FUNCNAME[frame]}")
    line=${BASH_LINENO[frame]}
  done
}

# For the ERR trap, with status, command and line: false if the function whose command has failed is to be left. That is
# how `set -e` is kept without the end of the shell: each function on the way to the handler's caller is left in turn.
# Where a failure is of no consequence to `set -e`, as before ||, there is no trap.
__snapfaas_stays() {
  __snapfaas_trapped=$1
  if [[ ${FUNCNAME[1]-} == __snapfaas_* ]]; then
    [[ $- != *e* ]] || __snapfaas_errexit=e
    set +e
    return 0
  fi
  if [[ -s $__snapfaas_raised ]]; then
    ((BASH_SUBSHELL > 0)) || __snapfaas_hear_subshell
    return 1
  fi
  [[ -z $__snapfaas_error_type ]] || return 1
  local old=("${__snapfaas_stack[@]}") IFS=$'\n'
  __snapfaas_take_stack "$3"
  # The caller of who has failed fails too; the first cause is what counts.
  if [[ $__snapfaas_error_status == "$1" && "${old[*]}" == *$'\n'"${__snapfaas_stack[*]}" ]]; then
    __snapfaas_stack=("${old[@]}")
  else
    __snapfaas_error_status=$1
    __snapfaas_error_message="command failed with status $1: $2"
  fi
  [[ -z $__snapfaas_loading && $- != *e* ]]
}

# For functions: fails with MESSAGE, up to whoever called the handler or to a command whose failure does not matter to
# `set -e`. Usage: raise [TYPE] MESSAGE
raise() {
  __snapfaas_error_type=Error
  if (($# > 1)); then
    __snapfaas_error_type=$1
    shift
  fi
  __snapfaas_error_message=${1-}
  __snapfaas_error_status=1
  __snapfaas_take_stack "${BASH_LINENO[0]}"
  if ((BASH_SUBSHELL > 0)); then
    printf '%s\0' "$__snapfaas_error_type" "$__snapfaas_error_message" "${__snapfaas_stack[@]}" >"$__snapfaas_raised"
  fi
  return 1
}

# Takes over what a subshell has left behind by raise.
__snapfaas_hear_subshell() {
  local said
  mapfile -d '' -t said <"$__snapfaas_raised"
  : >"$__snapfaas_raised"
  __snapfaas_error_type=${said[0]} __snapfaas_error_message=${said[1]} __snapfaas_error_status=1
  __snapfaas_stack=("${said[@]:2}")
}

# Runs code of the function: "$@", with the descriptors of the contract closed and the function's own options. Its
# status. By eval: what ends a whole command line of a shell, as a division by zero does, ends only that of eval.
__snapfaas_guarded() {
  local __snapfaas_status
  __snapfaas_error_type= __snapfaas_error_message= __snapfaas_error_status= __snapfaas_stack=() __snapfaas_errexit=
  [[ ! -s $__snapfaas_raised ]] || : >"$__snapfaas_raised"
  [[ -z $__snapfaas_options ]] || set "-$__snapfaas_options"
  eval '"$@"' 3<&- 4<&- 5>&-
  __snapfaas_status=$?
  __snapfaas_options=${-//[!efux]/}
  set +efux
  [[ -z $__snapfaas_errexit ]] || __snapfaas_options+=e
  return "$__snapfaas_status"
}

# The report of what __snapfaas_guarded has ended with, status $1, of the command $2, for the request $3.
__snapfaas_report_failure() {
  if [[ -n $__snapfaas_error_type ]]; then
    __snapfaas_report "$__snapfaas_error_type" "$__snapfaas_error_message" "$3"
  elif [[ $__snapfaas_error_status == "$1" ]]; then
    __snapfaas_report "$__snapfaas_plain_error" "$__snapfaas_error_message" "$3"
  else
    __snapfaas_stack=()
    __snapfaas_report "$__snapfaas_plain_error" "$2 returned $1" "$3"
  fi
}

# $1 cut to $2 bytes, as the inside of a string of JSON, with what is no UTF-8 replaced.
__snapfaas_present() {
  local LC_ALL=C text=${1:0:$2}
  if [[ $text == *[$'\x80'-$'\xff']* ]]; then
    # Where it was cut there may be half a character.
    if ((${#1} > $2)); then
      while [[ $text == *[$'\x80'-$'\xbf'] ]]; do
        text=${text%?}
      done
      text=${text%[$'\xc2'-$'\xf4']}
    fi
    [[ $text =~ $__snapfaas_is_utf8 ]] || text=${text//[$'\x80'-$'\xff']/?}
  fi
  __snapfaas_escape "$text"
}

# The error report with type $1, message $2, request id $3 and the stack in __snapfaas_stack; into __snapfaas_reply, and
# into __snapfaas_log_text as it stands in the log.
__snapfaas_report() {
  local report line separator=
  __snapfaas_present "$2" "$__snapfaas_max_message"
  report="{\"errorMessage\":\"$__snapfaas_reply\""
  __snapfaas_present "$1" "$__snapfaas_max_line"
  report+=",\"errorType\":\"$__snapfaas_reply\""
  __snapfaas_present "$3" "$__snapfaas_max_line"
  report+=",\"requestId\":\"$__snapfaas_reply\",\"stackTrace\":["
  __snapfaas_log_text="[ERROR] $1: ${2:0:__snapfaas_max_message}"$'\n'
  for line in "${__snapfaas_stack[@]}"; do
    __snapfaas_present "$line" "$__snapfaas_max_line"
    report+="$separator\"$__snapfaas_reply\""
    __snapfaas_log_text+=$'\t'$line$'\n'
    separator=,
  done
  __snapfaas_reply="$report]}"
}

__snapfaas_log_report() {
  printf %s "$__snapfaas_log_text" >&2
}

# ---- what a handler gets ---------------------------------------------------------------------------------------------

# A random UUID, into __snapfaas_reply.
__snapfaas_make_uuid() {
  printf -v __snapfaas_reply %08x "$SRANDOM" "$SRANDOM" "$SRANDOM" "$SRANDOM"
  local hex=$__snapfaas_reply variants=89ab
  __snapfaas_reply="${hex:0:8}-${hex:8:4}-4${hex:13:3}-${variants:SRANDOM % 4:1}${hex:17:3}-${hex:20}"
}

# For functions. Usage: get_remaining_time_in_millis [-v VARIABLE]; without one it is printed.
get_remaining_time_in_millis() {
  local __snapfaas_left=0
  if [[ ${LAMBDA_RUNTIME_DEADLINE_MS-} ]]; then
    __snapfaas_left=$((LAMBDA_RUNTIME_DEADLINE_MS - ${EPOCHREALTIME//[!0-9]/} / 1000))
    ((__snapfaas_left >= 0)) || __snapfaas_left=0
  fi
  if [[ ${1-} == -v ]]; then
    printf -v "$2" %s "$__snapfaas_left"
  else
    printf '%s\n' "$__snapfaas_left"
  fi
}

# Keeps the context $1 for the events that follow: in the variables that a custom runtime of AWS Lambda would make of
# the headers, and in those that say what function this is.
__snapfaas_keep_context() {
  __snapfaas_context=$1
  __snapfaas_read_object "$1" || __snapfaas_die 'the host sent a context that is not a JSON object'
  __snapfaas_member requestId
  __snapfaas_request_id=$__snapfaas_reply
  __snapfaas_member deadlineMs
  # A number, of which bash can only count whole ones.
  [[ $__snapfaas_reply =~ ^([0-9]{1,18})(\.[0-9]*)?$ ]] && __snapfaas_reply=${BASH_REMATCH[1]} || __snapfaas_reply=
  export LAMBDA_RUNTIME_DEADLINE_MS=$__snapfaas_reply
  __snapfaas_member invokedFunctionArn
  export LAMBDA_RUNTIME_INVOKED_FUNCTION_ARN=$__snapfaas_reply
  export LAMBDA_RUNTIME_CLIENT_CONTEXT=${__snapfaas_members[clientContext]-}
  __snapfaas_member functionName "${AWS_LAMBDA_FUNCTION_NAME-}"
  export AWS_LAMBDA_FUNCTION_NAME=$__snapfaas_reply
  __snapfaas_member functionVersion "${AWS_LAMBDA_FUNCTION_VERSION-}"
  export AWS_LAMBDA_FUNCTION_VERSION=$__snapfaas_reply
  __snapfaas_member memoryLimitInMB "${AWS_LAMBDA_FUNCTION_MEMORY_SIZE-}"
  export AWS_LAMBDA_FUNCTION_MEMORY_SIZE=$__snapfaas_reply
}

# ---- answering -------------------------------------------------------------------------------------------------------

# Whether the text $1 looks like JSON. To look at all of it would take bash minutes for six megabytes.
__snapfaas_is_like_json() {
  local text=$1 second end
  text=${text#"${text%%[!$' \t\r']*}"}
  second=${text:1:64} end=${text:${#text} > 64 ? ${#text} - 64 : 0}
  second=${second#"${second%%[!$' \t\r']*}"}
  while [[ $end == *[$' \t\r'] ]]; do
    end=${end%?}
  done
  case ${text:0:1}${second:0:1}${end: -1} in
    \{[\"\}]\} | \[[][\{\"tfn0-9-]\] | \"?\") return 0 ;;
    *) ((${#text} < 400)) && [[ $text =~ $__snapfaas_scalar ]] ;;
  esac
}

# What the handler has printed, as JSON, into __snapfaas_reply: as it is if it looks like JSON. Other text becomes a
# string, and nothing becomes null.
__snapfaas_read_output() {
  local LC_ALL=C IFS=' ' lines line separator= text=
  mapfile -t lines <"$__snapfaas_output"
  # Line ends mean nothing in JSON; each would be a write of its own to the host.
  __snapfaas_reply="${lines[*]}"
  if [[ $__snapfaas_reply != *[!$' \t\r']* ]]; then
    __snapfaas_reply=null
  elif ! __snapfaas_is_like_json "$__snapfaas_reply"; then
    for line in "${lines[@]}"; do
      __snapfaas_escape "$line"
      text+=$separator$__snapfaas_reply
      separator='\n'
    done
    __snapfaas_reply="\"$text\""
  fi
}

# Runs the handler for the event $1; the frame to send back into __snapfaas_kind and __snapfaas_reply.
__snapfaas_answer() {
  local status
  if [[ -z $__snapfaas_request_id ]]; then
    __snapfaas_make_uuid
    export LAMBDA_RUNTIME_AWS_REQUEST_ID=$__snapfaas_reply
  else
    export LAMBDA_RUNTIME_AWS_REQUEST_ID=$__snapfaas_request_id
  fi
  local request_id=$LAMBDA_RUNTIME_AWS_REQUEST_ID
  __snapfaas_guarded "$__snapfaas_handler" "$1" "$__snapfaas_context" <<<"$1" >"$__snapfaas_output"
  status=$?
  __snapfaas_kind=error
  if ((status != 0)); then
    __snapfaas_report_failure "$status" "$__snapfaas_handler" "$request_id"
    return
  fi
  __snapfaas_read_output
  __snapfaas_length "$__snapfaas_reply"
  if ((__snapfaas_size > __snapfaas_max_response)); then
    __snapfaas_stack=()
    __snapfaas_report Function.ResponseSizeTooLarge "Response payload size ($__snapfaas_size bytes) exceeded maximum \
allowed payload size ($__snapfaas_max_response bytes)." "$request_id"
    return
  fi
  __snapfaas_kind=result
}

# The bytes of $1, into __snapfaas_size.
__snapfaas_length() {
  local LC_ALL=C
  __snapfaas_size=${#1}
}

# Answers events for ever; all of them with __snapfaas_failure, if there is one.
__snapfaas_serve() {
  while :; do
    __snapfaas_read_frame
    case $__snapfaas_kind in
      context) __snapfaas_keep_context "$__snapfaas_payload" ;;
      event)
        if [[ $__snapfaas_failure ]]; then
          __snapfaas_write_frame error "$__snapfaas_failure"
          continue
        fi
        __snapfaas_answer "$__snapfaas_payload"
        [[ $__snapfaas_kind == result || -z ${_HANDLER-} ]] || __snapfaas_log_report
        __snapfaas_write_frame "$__snapfaas_kind" "$__snapfaas_reply"
        # An answer of megabytes is not kept until the next one.
        __snapfaas_payload= __snapfaas_reply=
        : >"$__snapfaas_output"
        ;;
      *) __snapfaas_die 'the host sent a frame of unknown kind' ;;
    esac
  done
}

# ---- loading ---------------------------------------------------------------------------------------------------------
# What can fail leaves its report in __snapfaas_failure, where there is nothing otherwise. It has no status to say so
# with: bash has no ERR trap below a command that is called with || or if, and that is where the function's code runs.

# Whether bash can parse the file $1; if not, why, into __snapfaas_reply. By defining a function that has its text:
# nothing of it runs.
__snapfaas_parses() {
  local text line lines words='^[^:]*: [^:]*: line ([0-9]+): (.*)$'
  text=$(<"$1") # bash reads it itself
  line=$LINENO
  eval "__snapfaas_parsed() { :; $text"$'\n}' 2>"$__snapfaas_syntax" && unset -f __snapfaas_parsed && return
  IFS= read -r __snapfaas_reply <"$__snapfaas_syntax"
  [[ $__snapfaas_reply =~ $words ]] || return
  local number=$((BASH_REMATCH[1] - line)) what=${BASH_REMATCH[2]}
  mapfile lines <"$1"
  # It is our brace that is not expected there.
  ((number <= ${#lines[@]})) || what='syntax error: unexpected end of file'
  __snapfaas_reply="$1: line $number: $what"
  false
}

# Sources the file $1 of the module $2.
__snapfaas_load_module() {
  local status
  __snapfaas_loading=1
  __snapfaas_guarded source "$1"
  status=$?
  __snapfaas_loading=
  ((status != 0)) || return 0
  if [[ -z $__snapfaas_error_type ]] && ! __snapfaas_parses "$1"; then
    __snapfaas_stack=()
    __snapfaas_report Runtime.UserCodeSyntaxError "Syntax error in module '$2': $__snapfaas_reply" ''
  else
    __snapfaas_report_failure "$status" "$1" ''
  fi
  __snapfaas_failure=$__snapfaas_reply
}

__snapfaas_fail() {
  __snapfaas_stack=()
  __snapfaas_report "$1" "$2" ''
  __snapfaas_failure=$__snapfaas_reply
}

# The handler of a folder that was not deployed.
__snapfaas_load_folder() {
  local module
  cd "$__snapfaas_task_root" || :
  __snapfaas_renew_log_stream
  for module in app workload; do
    [[ -f $__snapfaas_task_root/$module.sh ]] || continue
    __snapfaas_load_module "$__snapfaas_task_root/$module.sh" "$module"
    [[ -z $__snapfaas_failure ]] || return
    for __snapfaas_handler in handler handle; do
      ! declare -F "$__snapfaas_handler" >/dev/null || return
    done
    __snapfaas_fail Runtime.HandlerNotFound "Module '$module' has neither a function handler nor a function handle"
    return
  done
  __snapfaas_fail Runtime.ImportModuleError 'Unable to import module: no app.sh and no workload.sh'
}

# The handler that a deployed function names: $1.
__snapfaas_load_handler() {
  local module=${1%.*} file
  if [[ $1 != *.* ]]; then
    __snapfaas_fail Runtime.MalformedHandlerName "Bad handler '$1': it has no dot"
    return
  fi
  __snapfaas_handler=${1##*.}
  file=$__snapfaas_lambda_task_root/$module.sh
  if [[ ! -f $file ]]; then
    __snapfaas_fail Runtime.ImportModuleError "Unable to import module '$module': there is no $file"
    return
  fi
  __snapfaas_load_module "$file" "$module"
  [[ -z $__snapfaas_failure ]] || return
  declare -F "$__snapfaas_handler" >/dev/null ||
    __snapfaas_fail Runtime.HandlerNotFound "Handler '$__snapfaas_handler' missing on module '$module'"
}

# One for each microVM, as one snapshot gives many.
__snapfaas_renew_log_stream() {
  local TZ=UTC day
  printf -v day '%(%Y/%m/%d)T' -1
  printf -v __snapfaas_reply %08x "$SRANDOM" "$SRANDOM" "$SRANDOM" "$SRANDOM"
  export AWS_LAMBDA_LOG_STREAM_NAME="$day/[${AWS_LAMBDA_FUNCTION_VERSION-\$LATEST}]$__snapfaas_reply"
}

# Sets up the environment and loads the function as the configuration $1 says.
__snapfaas_load_deployed() {
  local handler environment name
  if ! __snapfaas_read_object "$1" || __snapfaas_member handler && [[ -z $__snapfaas_reply ]]; then
    __snapfaas_fail Runtime.InitError "$__snapfaas_configuration names no handler"
    return
  fi
  export _HANDLER=$__snapfaas_reply
  __snapfaas_member region us-east-1
  export AWS_REGION=$__snapfaas_reply AWS_DEFAULT_REGION=$__snapfaas_reply
  __snapfaas_member functionName function
  export AWS_LAMBDA_FUNCTION_NAME=$__snapfaas_reply AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/$__snapfaas_reply
  __snapfaas_member functionVersion "\$LATEST"
  export AWS_LAMBDA_FUNCTION_VERSION=$__snapfaas_reply
  __snapfaas_member memorySize
  export AWS_LAMBDA_FUNCTION_MEMORY_SIZE=$__snapfaas_reply
  export AWS_EXECUTION_ENV="AWS_Lambda_bash${BASH_VERSINFO[0]}.${BASH_VERSINFO[1]}"
  export LAMBDA_RUNTIME_DIR=$__snapfaas_runtime_folder LAMBDA_TASK_ROOT=$__snapfaas_lambda_task_root TZ=:UTC
  __snapfaas_renew_log_stream
  # The function's own go last, so that it may have another time zone.
  environment=${__snapfaas_members[environment]-null}
  if [[ $environment == '{'* ]]; then
    __snapfaas_read_object "$environment"
    for name in "${!__snapfaas_members[@]}"; do
      __snapfaas_text_of "${__snapfaas_members[$name]}"
      if [[ ! $name =~ ^[A-Za-z_][A-Za-z_0-9]*$ ]] || ! export "$name=$__snapfaas_reply"; then
        __snapfaas_fail Runtime.InitError "an environment variable cannot be set: $name"
        return
      fi
    done
  fi
  cd "$__snapfaas_lambda_task_root" || :
  __snapfaas_load_handler "$_HANDLER"
}

# ---- from start to serving -------------------------------------------------------------------------------------------

# The generator that was seeded in the snapshot would give the same numbers in each VM restored from it. SRANDOM is the
# kernel's.
__snapfaas_reseed() {
  RANDOM=$((16#${1:0:8}))
}

# For functions: a command with its arguments, to run before the snapshot of the loaded function, or behind it.
register_before_snapshot() {
  printf -v "__snapfaas_before[${#__snapfaas_before[@]}]" '%q ' "$@"
}

register_after_restore() {
  printf -v "__snapfaas_after[${#__snapfaas_after[@]}]" '%q ' "$@"
}

__snapfaas_before=() __snapfaas_after=()

__snapfaas_run_hook() {
  local status
  __snapfaas_guarded eval "$1"
  status=$?
  ((status != 0)) || return
  __snapfaas_report_failure "$status" "${1% }" ''
  __snapfaas_failure=$__snapfaas_reply
}

__snapfaas_run_before_snapshot() {
  local index
  # In reverse order, as what was set up last is taken down first.
  for ((index = ${#__snapfaas_before[@]} - 1; index >= 0; --index)); do
    __snapfaas_run_hook "${__snapfaas_before[index]}"
    [[ -z $__snapfaas_failure ]] || return
  done
}

__snapfaas_run_after_restore() {
  local hook
  for hook in "${__snapfaas_after[@]}"; do
    __snapfaas_run_hook "$hook"
    [[ -z $__snapfaas_failure ]] || return
  done
}

# After the agent's command $1.
__snapfaas_load() {
  local argument=${1#* } snapshot= configuration
  case $1 in
    'load '*) ;;
    'fail '*)
      __snapfaas_fail Runtime.InitError "$argument"
      return
      ;;
    *) __snapfaas_die "the agent said '${1:0:80}'" ;;
  esac
  if [[ $argument == *' checkpoint' ]]; then
    snapshot=1
    export AWS_LAMBDA_INITIALIZATION_TYPE=snap-start
  else
    export AWS_LAMBDA_INITIALIZATION_TYPE=on-demand
  fi
  __snapfaas_reseed "$argument"
  if [[ -f $__snapfaas_task_root/$__snapfaas_configuration ]]; then
    configuration=$(<"$__snapfaas_task_root/$__snapfaas_configuration") # bash reads it itself
    __snapfaas_load_deployed "$configuration"
  else
    __snapfaas_load_folder
  fi
  [[ $__snapfaas_failure || ! $snapshot ]] || __snapfaas_run_before_snapshot
}

# Behind the function snapshot, after the agent's command $1.
__snapfaas_resume() {
  [[ $1 == 'resume '* ]] || __snapfaas_die "the agent said '${1:0:80}'"
  __snapfaas_reseed "${1#resume }"
  __snapfaas_renew_log_stream
  __snapfaas_run_after_restore
}

# Tells the host that the function is of no use. What __snapfaas_failure holds answers every event from then on.
__snapfaas_refuse() {
  [[ -z ${_HANDLER-} ]] || __snapfaas_log_report
  __snapfaas_write_frame init-error "$__snapfaas_failure"
}

# Runs the code of a first request once, so that its pages are in the snapshot.
__snapfaas_warm_up() {
  local context='{"clientContext":{"custom":{"a":[1,"\u00e4"]}},"deadlineMs":1,"functionName":"f","requestId":"r"}'
  warm_up() {
    local event
    read -r event
    [[ $event == *fail* ]] && raise Warm 'wanted: ä "'
    printf '{"event": %s}\n' "$event"
  }
  __snapfaas_handler=warm_up __snapfaas_context=$context __snapfaas_request_id=
  __snapfaas_reseed 00000000
  {
    __snapfaas_read_frame
    __snapfaas_answer "$__snapfaas_payload"
    __snapfaas_write_frame "$__snapfaas_kind" "$__snapfaas_reply" 3>/dev/null
    __snapfaas_read_frame
    __snapfaas_answer "$__snapfaas_payload"
  } 3<<<$'event 2\n{}event 6\n"fail"'
  __snapfaas_escape $'a\nb'
  __snapfaas_keep_context "$context"
  unset -f warm_up
  unset LAMBDA_RUNTIME_{AWS_REQUEST_ID,DEADLINE_MS,INVOKED_FUNCTION_ARN,CLIENT_CONTEXT}
  unset AWS_LAMBDA_FUNCTION_{NAME,VERSION,MEMORY_SIZE}
}

__snapfaas_main() {
  local command
  set -E
  # In one line: LINENO counts those of the trap.
  trap '__snapfaas_stays "$?" "$BASH_COMMAND" "$LINENO" || return "$__snapfaas_trapped"' ERR
  __snapfaas_options= __snapfaas_loading= __snapfaas_error_type= __snapfaas_failure=
  : >"$__snapfaas_output" >"$__snapfaas_raised" >"$__snapfaas_syntax"
  __snapfaas_warm_up
  __snapfaas_context={} __snapfaas_request_id= __snapfaas_handler=
  __snapfaas_say ready
  __snapfaas_hear
  command=$__snapfaas_reply
  __snapfaas_load "$command"
  if [[ $__snapfaas_failure ]]; then
    __snapfaas_refuse
    __snapfaas_say failed
  else
    __snapfaas_say loaded
    if [[ $command == *' checkpoint' ]]; then
      __snapfaas_hear
      __snapfaas_resume "$__snapfaas_reply"
      [[ -z $__snapfaas_failure ]] || __snapfaas_refuse
    fi
  fi
  __snapfaas_serve
}

__snapfaas_main
