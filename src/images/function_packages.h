// Debian packages that a function asks for by a file debian-packages.txt in its folder: fetched with what they depend
// on, unpacked, never installed.
//
//   <data>/packages/*.deb               as runtimes' builds and functions have fetched them
//   <data>/packages/trees/<key>/        unpacked, complete under that name; what is asked for of one runtime
//
// In the function's image a tree lies at package/. Both may be deleted: they are fetched again.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "images/progress.h"

namespace snapfaas::images {

inline constexpr char kPackageListFile[] = "debian-packages.txt";

// Where packages come from, and what a runtime has already.
struct PackageSource {
  std::filesystem::path folder;  // <data>/packages; empty: there are none to be had
  std::filesystem::path status;  // dpkg's list of what is in the runtime's root file system
};

// The packages that a list names, one a line, each once and sorted: "name" or "name=version"; "#" begins a comment.
// kInvalidArgument names a line that is none.
Result<std::vector<std::string>> ParsePackageList(std::string_view text);

// The package files that apt would install, by the output of its --simulate, as it names them in its cache.
std::vector<std::string> ParseSimulation(std::string_view output);

// Where the tree of these packages is, once it is there, for a runtime with this list of what it has.
std::filesystem::path PackageTree(const PackageSource& source, const std::vector<std::string>& packages,
                                  std::string_view status);

// The unpacked packages of the function in `app_dir`; nothing where it asks for none, or there is no source. They are
// fetched where they are not there yet, which takes Debian 12's package lists and a network. kInvalidArgument: its list
// names what is none; kUnavailable: they cannot be fetched.
Result<std::optional<std::filesystem::path>> FetchFunctionPackages(const std::filesystem::path& app_dir,
                                                                   const PackageSource& source,
                                                                   const Progress& progress);

// Makes of what dpkg-deb has unpacked below `tree` what a function can use where it is: /bin, /sbin and /lib in /usr;
// shared libraries that only an installation script would have linked to, in the folders that are searched; no
// documentation.
Status SettlePackageTree(const std::filesystem::path& tree);

}  // namespace snapfaas::images
