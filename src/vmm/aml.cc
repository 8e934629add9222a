#include "vmm/aml.h"

#include <cctype>

namespace snapfaas::vmm::aml {
namespace {

void Append(Bytes& to, const Bytes& from) { to.insert(to.end(), from.begin(), from.end()); }
void Append(Bytes& to, std::string_view from) { to.insert(to.end(), from.begin(), from.end()); }

void AppendLittle(Bytes& to, uint32_t value, int bytes) {
  for (int i = 0; i < bytes; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

Bytes Join(const std::vector<Bytes>& parts) {
  Bytes all;
  for (const Bytes& part : parts) Append(all, part);
  return all;
}

// PkgLength (20.2.4) counts itself: its own size follows from that of what it precedes.
Bytes WithLength(const Bytes& body) {
  size_t extra = 0;  // bytes after the first
  if (body.size() + 1 > 0x3f) extra = 1;
  if (body.size() + 2 > 0xfff) extra = 2;
  if (body.size() + 3 > 0xfffff) extra = 3;
  const size_t length = body.size() + 1 + extra;
  Bytes out;
  if (extra == 0) {
    out.push_back(static_cast<uint8_t>(length));
  } else {
    out.push_back(static_cast<uint8_t>((extra << 6) | (length & 0xf)));
    for (size_t i = 0; i < extra; ++i) out.push_back(static_cast<uint8_t>(length >> (4 + 8 * i)));
  }
  Append(out, body);
  return out;
}

}  // namespace

Bytes Integer(uint32_t value) {
  if (value <= 1) return {static_cast<uint8_t>(value)};  // ZeroOp, OneOp
  Bytes out;
  if (value <= 0xff) {
    out.push_back(0x0a);
    AppendLittle(out, value, 1);
  } else if (value <= 0xffff) {
    out.push_back(0x0b);
    AppendLittle(out, value, 2);
  } else {
    out.push_back(0x0c);
    AppendLittle(out, value, 4);
  }
  return out;
}

Bytes String(std::string_view text) {
  Bytes out{0x0d};
  Append(out, text);
  out.push_back(0);
  return out;
}

Bytes Buffer(const Bytes& content) {
  Bytes body = Integer(static_cast<uint32_t>(content.size()));
  Append(body, content);
  Bytes out{0x11};
  Append(out, WithLength(body));
  return out;
}

Bytes Package(const std::vector<Bytes>& elements) {
  Bytes body{static_cast<uint8_t>(elements.size())};
  Append(body, Join(elements));
  Bytes out{0x12};
  Append(out, WithLength(body));
  return out;
}

Bytes Name(std::string_view segment, const Bytes& value) {
  Bytes out{0x08};
  Append(out, segment);
  Append(out, value);
  return out;
}

Bytes Device(std::string_view segment, const std::vector<Bytes>& members) {
  Bytes body;
  Append(body, segment);
  Append(body, Join(members));
  Bytes out{0x5b, 0x82};
  Append(out, WithLength(body));
  return out;
}

Bytes SystemBusScope(const std::vector<Bytes>& members) {
  Bytes body;
  Append(body, "\\_SB_");
  Append(body, Join(members));
  Bytes out{0x10};
  Append(out, WithLength(body));
  return out;
}

Bytes EisaId(std::string_view id) {
  // 19.3.4: three letters of five bits and four hexadecimal digits, big-endian.
  uint32_t value = 0;
  for (size_t i = 0; i < 3; ++i) value = (value << 5) | static_cast<uint32_t>(id[i] - 0x40);
  for (size_t i = 3; i < 7; ++i) {
    const auto c = static_cast<unsigned char>(id[i]);
    value = (value << 4) | static_cast<uint32_t>(std::isdigit(c) != 0 ? c - '0' : c - 'A' + 10);
  }
  Bytes out{0x0c};
  AppendLittle(out, __builtin_bswap32(value), 4);
  return out;
}

Bytes Memory32Fixed(uint32_t base, uint32_t length) {
  Bytes out{0x86, 9, 0, 1};  // 6.4.3.4: writable
  AppendLittle(out, base, 4);
  AppendLittle(out, length, 4);
  return out;
}

Bytes IoPorts(uint16_t base, uint8_t length) {
  Bytes out{0x47, 1};  // 6.4.2.5: decodes 16 bits
  AppendLittle(out, base, 2);
  AppendLittle(out, base, 2);
  out.push_back(1);
  out.push_back(length);
  return out;
}

Bytes EdgeInterrupt(uint32_t gsi) {
  Bytes out{0x89, 6, 0, 0x03, 1};  // 6.4.3.6: consumer, edge, active high, exclusive; one interrupt
  AppendLittle(out, gsi, 4);
  return out;
}

Bytes ResourceTemplate(const std::vector<Bytes>& descriptors) {
  Bytes content = Join(descriptors);
  Append(content, Bytes{0x79, 0});  // end tag; checksum 0: not checked
  return Buffer(content);
}

}  // namespace snapfaas::vmm::aml
