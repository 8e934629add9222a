// What processes have mapped from files, at a snapshot point.
#pragma once

#include <sys/types.h>

namespace snapfaas::guest {

// Brings all that the process has mapped from files into its page tables. The files lie in memory that all VMs share
// (DAX), so this takes no more than eight bytes a page, and saves a fault at each page's first use.
void MapFilesOf(pid_t pid);

}  // namespace snapfaas::guest
