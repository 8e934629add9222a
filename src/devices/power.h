// How a guest switches itself off or restarts: the ACPI hardware-reduced sleep and reset registers, and the keyboard
// controller's reset line (Linux's reboot=k). Callbacks run on the vCPU thread that made the access.
#pragma once

#include <cstdint>
#include <functional>

#include "devices/bus.h"

namespace snapfaas::devices {

// ACPI 6.4, 4.8.3.7 "Sleep Control and Status Registers" and 4.8.3.6 "Reset Register", as 8-bit I/O ports.
inline constexpr uint16_t kPowerPort = 0x600;
inline constexpr uint16_t kPowerPortCount = 3;
inline constexpr uint16_t kSleepControlPort = 0x600;
inline constexpr uint16_t kSleepStatusPort = 0x601;
inline constexpr uint16_t kResetPort = 0x602;
inline constexpr uint8_t kResetValue = 0x06;     // FADT RESET_VALUE
inline constexpr uint8_t kSleepTypeS5 = 5;       // SLP_TYP of soft off: the value of \_S5
inline constexpr uint8_t kSleepEnable = 1 << 5;  // SLP_EN; SLP_TYP is in bits 4:2

class PowerControl final : public IoHandler {
 public:
  PowerControl(std::function<void()> on_power_off, std::function<void()> on_reset)
      : on_power_off_(std::move(on_power_off)), on_reset_(std::move(on_reset)) {}

  std::string_view name() const override { return "power"; }
  // All registers read 0: WAK_STS is never set, since nothing sleeps.
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  std::function<void()> on_power_off_;
  std::function<void()> on_reset_;
};

// The command port of an i8042 without keyboard or mouse. The FADT should not claim an 8042 (IAPC_BOOT_ARCH bit 1),
// or Linux's driver waits half a second for one.
inline constexpr uint16_t kI8042CommandPort = 0x64;
inline constexpr uint8_t kI8042ResetCommand = 0xfe;

class I8042 final : public IoHandler {
 public:
  explicit I8042(std::function<void()> on_reset) : on_reset_(std::move(on_reset)) {}

  std::string_view name() const override { return "i8042"; }
  // Status 0: the input buffer is empty, so Linux does not wait before it asks for the reset.
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

 private:
  std::function<void()> on_reset_;
};

}  // namespace snapfaas::devices
