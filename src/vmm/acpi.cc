#include "vmm/acpi.h"

#include <algorithm>
#include <numeric>
#include <string_view>

#include "base/coding.h"
#include "devices/power.h"
#include "devices/serial.h"
#include "vmm/aml.h"
#include "vmm/layout.h"

namespace snapfaas::vmm {
namespace {

constexpr std::string_view kOemId = "SNAPFA";
constexpr std::string_view kOemTableId = "SNAPFAAS";
constexpr size_t kTableHeaderBytes = 36;
constexpr size_t kRsdpBytes = 36;

void PutText(ByteWriter& writer, std::string_view text) {
  writer.PutBytes({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

void PutZeroes(ByteWriter& writer, size_t count) {
  for (size_t i = 0; i < count; ++i) writer.Put(uint8_t{0});
}

uint8_t ChecksumByte(std::span<const uint8_t> bytes) {
  return static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0));
}

// A table with the common header (5.2.6) before `body`.
std::vector<uint8_t> Table(std::string_view signature, uint8_t revision, const std::vector<uint8_t>& body) {
  ByteWriter writer;
  PutText(writer, signature);
  writer.Put(static_cast<uint32_t>(kTableHeaderBytes + body.size()));
  writer.Put(revision);
  writer.Put(uint8_t{0});  // checksum, below
  PutText(writer, kOemId);
  PutText(writer, kOemTableId);
  writer.Put(uint32_t{1});
  PutText(writer, "SNAP");
  writer.Put(uint32_t{1});
  writer.PutBytes(body);
  auto bytes = writer.Take();
  bytes[9] = ChecksumByte(bytes);
  return bytes;
}

// A generic address structure (5.2.3.2) for an 8-bit I/O port.
void PutPortAddress(ByteWriter& writer, uint16_t port) {
  constexpr uint8_t kSystemIo = 1;
  constexpr uint8_t kByteAccess = 1;
  writer.Put(kSystemIo);
  writer.Put(uint8_t{8});
  writer.Put(uint8_t{0});
  writer.Put(kByteAccess);
  writer.Put(uint64_t{port});
}

std::vector<uint8_t> Dsdt(std::span<const AcpiDevice> devices) {
  std::vector<aml::Bytes> members;
  members.push_back(
      aml::Device("COM1", {aml::Name("_HID", aml::EisaId("PNP0501")), aml::Name("_UID", aml::Integer(0)),
                           aml::Name("_CRS", aml::ResourceTemplate({
                                                 aml::IoPorts(devices::kSerialPort, devices::kSerialPortCount),
                                                 aml::EdgeInterrupt(devices::kSerialIrq),
                                             }))}));
  for (size_t i = 0; i < devices.size(); ++i) {
    const std::string segment = fmt::format("VR{:02}", i);
    members.push_back(aml::Device(
        segment,
        {aml::Name("_HID", aml::String("LNRO0005")), aml::Name("_UID", aml::Integer(static_cast<uint32_t>(i))),
         aml::Name("_CCA", aml::Integer(1)),
         aml::Name("_CRS", aml::ResourceTemplate({
                               aml::Memory32Fixed(static_cast<uint32_t>(devices[i].base.value()), devices[i].size),
                               aml::EdgeInterrupt(devices[i].gsi),
                           }))}));
  }
  aml::Bytes body = aml::SystemBusScope(members);
  const aml::Bytes s5 = aml::Name(
      "_S5_", aml::Package({aml::Integer(devices::kSleepTypeS5), aml::Integer(0), aml::Integer(0), aml::Integer(0)}));
  body.insert(body.end(), s5.begin(), s5.end());
  return Table("DSDT", 2, body);
}

std::vector<uint8_t> Fadt(GuestAddress dsdt) {
  // 5.2.9; offsets are from the table's start.
  constexpr uint16_t kBootArchNoVga = 1 << 2;
  constexpr uint16_t kBootArchNoAspm = 1 << 4;
  constexpr uint16_t kBootArchNoRtc = 1 << 5;
  constexpr uint32_t kFlags = (1u << 0)      // WBINVD works
                              | (1u << 4)    // no fixed power button
                              | (1u << 5)    // no fixed sleep button
                              | (1u << 10)   // the reset register works
                              | (1u << 20);  // hardware-reduced
  ByteWriter writer;
  PutZeroes(writer, 109 - kTableHeaderBytes);
  writer.Put(static_cast<uint16_t>(kBootArchNoVga | kBootArchNoAspm | kBootArchNoRtc));
  writer.Put(uint8_t{0});
  writer.Put(kFlags);
  PutPortAddress(writer, devices::kResetPort);  // at 116
  writer.Put(devices::kResetValue);
  PutZeroes(writer, 2);    // ARM boot flags
  writer.Put(uint8_t{4});  // minor version: 6.4
  PutZeroes(writer, 8);
  writer.Put(dsdt.value());  // X_DSDT, at 140
  PutZeroes(writer, 244 - 148);
  PutPortAddress(writer, devices::kSleepControlPort);
  PutPortAddress(writer, devices::kSleepStatusPort);
  PutText(writer, kOemTableId);  // hypervisor vendor, at 268
  return Table("FACP", 6, writer.Take());
}

std::vector<uint8_t> Madt(uint32_t vcpus) {
  ByteWriter writer;
  writer.Put(static_cast<uint32_t>(kLocalApic.value()));
  writer.Put(uint32_t{0});  // no 8259s
  for (uint32_t i = 0; i < vcpus; ++i) {
    writer.Put(uint8_t{0});  // 5.2.12.2: a local APIC
    writer.Put(uint8_t{8});
    writer.Put(static_cast<uint8_t>(i));
    writer.Put(static_cast<uint8_t>(i));
    writer.Put(uint32_t{1});  // enabled
  }
  writer.Put(uint8_t{1});  // 5.2.12.3: an I/O APIC
  writer.Put(uint8_t{12});
  writer.Put(uint8_t{0});
  writer.Put(uint8_t{0});
  writer.Put(static_cast<uint32_t>(kIoApic.value()));
  writer.Put(uint32_t{0});
  return Table("APIC", 5, writer.Take());
}

std::vector<uint8_t> Xsdt(std::span<const GuestAddress> tables) {
  ByteWriter writer;
  for (const GuestAddress table : tables) writer.Put(table.value());
  return Table("XSDT", 1, writer.Take());
}

std::vector<uint8_t> Rsdp(GuestAddress xsdt) {
  // 5.2.5.3: two checksums, of the first 20 bytes and of all.
  ByteWriter writer;
  PutText(writer, "RSD PTR ");
  writer.Put(uint8_t{0});
  PutText(writer, kOemId);
  writer.Put(uint8_t{2});
  writer.Put(uint32_t{0});
  writer.Put(static_cast<uint32_t>(kRsdpBytes));
  writer.Put(xsdt.value());
  PutZeroes(writer, 4);
  auto bytes = writer.Take();
  bytes[8] = ChecksumByte(std::span(bytes).first(20));
  bytes[32] = ChecksumByte(bytes);
  return bytes;
}

}  // namespace

std::vector<uint8_t> BuildAcpiTables(GuestAddress base, uint32_t vcpus, std::span<const AcpiDevice> virtio_devices) {
  std::vector<uint8_t> all(kRsdpBytes);
  const auto append = [&](const std::vector<uint8_t>& table) {
    while (all.size() % 16 != 0) all.push_back(0);
    const GuestAddress at = base + all.size();
    all.insert(all.end(), table.begin(), table.end());
    return at;
  };
  const GuestAddress dsdt = append(Dsdt(virtio_devices));
  const GuestAddress tables[] = {append(Fadt(dsdt)), append(Madt(vcpus))};
  const auto rsdp = Rsdp(append(Xsdt(tables)));
  std::copy(rsdp.begin(), rsdp.end(), all.begin());
  return all;
}

Result<GuestAddress> WriteAcpiTables(GuestMemory& memory, uint32_t vcpus, std::span<const AcpiDevice> virtio_devices) {
  auto written = memory.Write(kAcpiTables, BuildAcpiTables(kAcpiTables, vcpus, virtio_devices));
  if (!written) return Forward(written.error());
  return kAcpiTables;
}

}  // namespace snapfaas::vmm
