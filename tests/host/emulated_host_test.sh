#!/bin/bash
# The emulated host from the outside: emulated_host_test.sh SNAPFAAS [DATA]
# SNAPFAAS is the program; DATA a data folder whose kernels are used, so that none is downloaded. The host that is
# started here is the test's own. Prints one line a check; exit code 1 when one failed, 77 (skipped) without QEMU.
set -u

snapfaas=$(realpath "$1")
kernels=${2:+$(realpath "$2")/kernels}
if ! command -v qemu-system-x86_64 >/dev/null; then
  echo "skipped: qemu-system-x86_64 is not installed"
  exit 77
fi

work=$(mktemp -d "${HOME:-/var/tmp}/snapfaas-host-test.XXXXXX")
export SNAPFAAS_DATA=$work/data
mkdir -p "$SNAPFAAS_DATA" "$work/folder"
if [ -n "$kernels" ] && [ -d "$kernels" ]; then ln -s "$kernels" "$SNAPFAAS_DATA/kernels"; fi
trap '"$snapfaas" host stop; rm -rf "$work"' EXIT
cd "$work/folder" || exit 1

failures=0
check() {  # check NAME EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    echo "ok    $1"
  else
    echo "FAIL  $1: expected '$2', got '$3'"
    failures=$((failures + 1))
  fi
}
inside() { timeout 120 "$snapfaas" host exec --emulated -- "$@"; }
code_of() { "$@" >/dev/null 2>&1; echo $?; }
status_field() { "$snapfaas" host status --json | sed "s/.*\"$1\":\([0-9]*\).*/\1/"; }
processes() { pgrep -f "qemu-system.*$work" | wc -l; }

check 'not running at first' 1 "$(code_of "$snapfaas" host status)"
"$snapfaas" host start >/dev/null & first=$!
"$snapfaas" host start >/dev/null & second=$!
wait $first; check 'first of two starts at once' 0 $?
wait $second; check 'second of two starts at once' 0 $?
check 'one machine' 1 "$(processes)"
check 'status when running' 0 "$(code_of "$snapfaas" host status)"
check 'token is private' 600 "$(stat -c %a "$SNAPFAAS_DATA/host/run/token")"

check 'KVM is usable inside' 0 "$(code_of inside test -c /dev/kvm)"
check 'a timer that is no clock of the kernel goes on ticking' yes \
  "$(inside sh -c 'ticks() { awk "/hpet/ { print \$2 }" /proc/interrupts; }; before=$(ticks); sleep 2; now=$(ticks)
                   if [ "$now" -gt "$((before + 1))" ]; then echo yes; fi')"
check 'true' 0 "$(code_of inside true)"
check 'false' 1 "$(code_of inside false)"
check 'exit code' 7 "$(code_of inside sh -c 'exit 7')"
check 'death by signal' 137 "$(code_of inside sh -c 'kill -9 $$')"
check 'unknown command' 127 "$(code_of inside no-such-command)"
check 'environment' 'a b' "$(SOME_VARIABLE='a b' inside sh -c 'echo "$SOME_VARIABLE"')"
check 'standard error apart' 'err' "$(inside sh -c 'echo out; echo err >&2' 2>&1 >/dev/null)"

head -c 1048576 /dev/urandom >"$work/input"
check 'a megabyte there and back' same "$(inside cat <"$work/input" | cmp - "$work/input" && echo same)"
check 'a reader that stops early' 'y' "$(inside yes 2>/dev/null | head -n 1)"

check 'current folder' "$work/folder" "$(inside pwd)"
inside sh -c 'echo written inside >file'
check 'files go out' 'written inside' "$(cat file)"
echo 'written outside' >file
check 'changes come in' 'written outside' "$(inside cat file)"
printf '#!/bin/sh\necho one\n' >program; chmod +x program
check 'program' one "$(inside ./program)"
printf '#!/bin/sh\necho two\n' >program.new; chmod +x program.new; mv program.new program
check 'program after a rebuild' two "$(inside ./program)"
check 'system is read only outside' 1 "$(inside touch /etc/snapfaas-host-test; code_of test -e /etc/snapfaas-host-test)"

for i in 1 2 3 4; do
  (inside sh -c "sleep 1; echo $i; exit $i" >"out.$i"; echo $? >"code.$i") &
  jobs[i]=$!
done
wait "${jobs[@]}"
check 'four at once: output' '1 2 3 4' "$(cat out.? | xargs)"
check 'four at once: exit codes' '1 2 3 4' "$(cat code.? | xargs)"

"$snapfaas" host exec --emulated -- sh -c 'sleep 4321; true' & client=$!
for _ in $(seq 50); do inside pgrep -f '^sleep 4321' >/dev/null && break; done
kill -KILL $client; wait $client 2>/dev/null
for _ in $(seq 50); do inside pgrep -f '^sleep 4321' >/dev/null || break; done
check 'a killed client takes its command along' 1 "$(code_of inside pgrep -f '^sleep 4321')"

"$snapfaas" host exec --emulated -- sh -c 'trap "exit 9" TERM; echo up; while :; do sleep 0.1; done' >up & client=$!
for _ in $(seq 100); do [ -s up ] && break; sleep 0.1; done
kill -TERM $client; wait $client
check 'SIGTERM reaches the command' 9 $?

exec 5<>"/dev/tcp/127.0.0.1/$(status_field port)"
head -c 64 /dev/zero >&5
check 'a stranger gets no answer' 0 "$(timeout 20 head -c 1 <&5 | wc -c)"
exec 5>&-

kill -KILL "$(status_field pid)"
sleep 0.5
check 'a machine that died is noticed' 1 "$(code_of "$snapfaas" host status)"
check 'and cleaned up' absent "$([ -e "$SNAPFAAS_DATA/host/run" ] || echo absent)"
check 'and started anew' 0 "$(code_of inside true)"

check 'stop' 0 "$(code_of "$snapfaas" host stop)"
check 'no process is left' 0 "$(processes)"
check 'no file of the run is left' absent "$([ -e "$SNAPFAAS_DATA/host/run" ] || echo absent)"
check 'stop again' 0 "$(code_of "$snapfaas" host stop)"

[ "$failures" = 0 ]
