// Copies in the emulated host's memory of files of the machine. Through 9p a file that nobody holds open is read anew
// each time; the programs and images that every microVM needs are worth their memory.
#pragma once

#include <string>

#include "base/result.h"

namespace snapfaas::host {

// Binds a copy of the machine's file over the same path, unless the copy that is there is the file as it is now. A file
// that does not exist is passed over. Programs that run from an older copy go on with it.
Status KeepResident(const std::string& file);

}  // namespace snapfaas::host
