#include "base/coding.h"

namespace snapfaas {

void ByteWriter::PutString(std::string_view text) {
  Put(static_cast<uint32_t>(text.size()));
  bytes_.insert(bytes_.end(), text.begin(), text.end());
}

void ByteWriter::PutBlob(std::span<const uint8_t> bytes) {
  Put(static_cast<uint32_t>(bytes.size()));
  PutBytes(bytes);
}

std::span<const uint8_t> ByteReader::GetBytes(size_t size) {
  if (!Need(size)) return {};
  const auto bytes = rest_.first(size);
  rest_ = rest_.subspan(size);
  return bytes;
}

std::string ByteReader::GetString(size_t limit) {
  const auto bytes = GetBlob(limit);
  return std::string(bytes.begin(), bytes.end());
}

std::span<const uint8_t> ByteReader::GetBlob(size_t limit) {
  const size_t size = Get<uint32_t>();
  if (size > limit) {
    ok_ = false;
    return {};
  }
  return GetBytes(size);
}

uint32_t ByteReader::GetCount(uint32_t limit) {
  const auto count = Get<uint32_t>();
  if (count <= limit) return count;
  ok_ = false;
  return 0;
}

Status ByteReader::Finish(std::string_view what) const {
  if (!ok_) return Fail(ErrorCode::kCorrupt, "{} is truncated or holds a value out of bounds", what);
  if (!rest_.empty()) return Fail(ErrorCode::kCorrupt, "{} has {} bytes too many", what, rest_.size());
  return {};
}

}  // namespace snapfaas
