// Little-endian, bounded encoding of everything that crosses a file or a socket.
//
// ByteReader never reads past its input: a read beyond the end, or a length above its bound, makes the reader fail,
// after which every read yields zero or empty. Callers decode a whole structure and ask Finish() once.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.h"

namespace snapfaas {

class ByteWriter {
 public:
  template <typename T>
  requires(std::is_unsigned_v<T>) void Put(T value) {
    for (size_t i = 0; i < sizeof(T); ++i) bytes_.push_back(static_cast<uint8_t>(value >> (8 * i)));
  }
  void PutI64(int64_t value) { Put(static_cast<uint64_t>(value)); }
  void PutBytes(std::span<const uint8_t> bytes) { bytes_.insert(bytes_.end(), bytes.begin(), bytes.end()); }

  // A u32 length, then the bytes.
  void PutString(std::string_view text);
  void PutBlob(std::span<const uint8_t> bytes);

  // A kernel ABI structure (kvm_regs and such), byte for byte; its layout is fixed on x86-64.
  template <typename T>
  requires(std::is_trivially_copyable_v<T>) void PutStruct(const T& value) {
    const auto* raw = reinterpret_cast<const uint8_t*>(&value);
    bytes_.insert(bytes_.end(), raw, raw + sizeof(T));
  }

  const std::vector<uint8_t>& bytes() const { return bytes_; }
  std::vector<uint8_t> Take() { return std::move(bytes_); }
  size_t size() const { return bytes_.size(); }

 private:
  std::vector<uint8_t> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const uint8_t> bytes) : rest_(bytes) {}

  template <typename T>
  requires(std::is_unsigned_v<T>) T Get() {
    if (!Need(sizeof(T))) return 0;
    T value = 0;
    for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value | (static_cast<T>(rest_[i]) << (8 * i)));
    rest_ = rest_.subspan(sizeof(T));
    return value;
  }
  int64_t GetI64() { return static_cast<int64_t>(Get<uint64_t>()); }

  // The next `size` bytes; empty when they are not there.
  std::span<const uint8_t> GetBytes(size_t size);

  // Counterparts of PutString and PutBlob; a length above `limit` fails the reader.
  std::string GetString(size_t limit);
  std::span<const uint8_t> GetBlob(size_t limit);

  // A count for a loop that follows; one above `limit` fails the reader and yields 0.
  uint32_t GetCount(uint32_t limit);

  template <typename T>
  requires(std::is_trivially_copyable_v<T>) T GetStruct() {
    T value{};
    const auto raw = GetBytes(sizeof(T));
    if (raw.size() == sizeof(T)) std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  // For a decoder that finds a value it cannot accept.
  void MarkBad() { ok_ = false; }

  bool ok() const { return ok_; }
  size_t remaining() const { return rest_.size(); }

  // Succeeds when all reads were good and nothing is left over. `what` names the thing in the error.
  Status Finish(std::string_view what) const;

 private:
  bool Need(size_t size) {
    if (ok_ && rest_.size() >= size) return true;
    ok_ = false;
    return false;
  }

  std::span<const uint8_t> rest_;
  bool ok_ = true;
};

}  // namespace snapfaas
