// What is done before the base snapshot so that the first request behind it finds everything in place.
#pragma once

namespace snapfaas::guest::native {

// Runs a whole invocation over the loopback interface, answered by ourselves, and maps the libraries that functions are
// linked with.
void WarmUp();

}  // namespace snapfaas::guest::native
