// InMemoryImage: a read-only file in memory, in huge pages where the host has them: one copy for all who map it. It is
// sealed.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "base/result.h"
#include "base/unique_fd.h"

namespace snapfaas::snapshot {

class InMemoryImage {
 public:
  // `what` names the file in errors.
  static Result<InMemoryImage> Load(int fd, std::string_view what);
  // With these bytes; `name` shows in /proc.
  static Result<InMemoryImage> Of(std::span<const uint8_t> bytes, const char* name);

  int fd() const { return fd_.get(); }
  uint64_t bytes() const { return bytes_; }

 private:
  InMemoryImage(UniqueFd fd, uint64_t bytes) : fd_(std::move(fd)), bytes_(bytes) {}

  UniqueFd fd_;
  uint64_t bytes_;
};

}  // namespace snapfaas::snapshot
