// What guest programs say before anybody else can: lines on the console, and the ways to end the VM.
#pragma once

namespace snapfaas::guest {

// One line on standard error, which is the console: "snapfaas-<program>: <text>".
[[gnu::format(printf, 1, 2)]] void Say(const char* format, ...);

// Says the line, gives the console time to take it and switches the VM off; where the machine has no such switch,
// resets it. Either way the host sees the VM end.
[[noreturn, gnu::format(printf, 1, 2)]] void DieAndPowerOff(const char* format, ...);

// Set once, first thing in main().
void SetProgramName(const char* name);

}  // namespace snapfaas::guest
