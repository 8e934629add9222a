// Serial: a 16550A UART, enough for Linux's 8250 driver as the console ttyS0. Output goes to a LogSink; there is no
// input but what loopback mode gives back. Registers as in the National Semiconductor PC16550D data sheet.
#pragma once

#include <cstdint>
#include <mutex>

#include "base/coding.h"
#include "devices/bus.h"
#include "devices/interrupt.h"
#include "devices/log_sink.h"

namespace snapfaas::devices {

inline constexpr uint16_t kSerialPort = 0x3f8;  // COM1, ttyS0
inline constexpr uint16_t kSerialPortCount = 8;
inline constexpr uint32_t kSerialIrq = 4;

struct SerialState {
  uint8_t interrupt_enable = 0;
  uint8_t fifo_control = 0;
  uint8_t line_control = 0x03;  // 8N1
  uint8_t modem_control = 0;
  uint8_t scratch = 0;
  uint8_t divisor_low = 0x0c;  // 9600 baud
  uint8_t divisor_high = 0;
  uint8_t received = 0;
  bool data_ready = false;        // `received` holds a byte that was not read
  bool transmit_pending = false;  // the "transmitter empty" interrupt was not yet seen

  void Encode(ByteWriter& writer) const;
  static SerialState Decode(ByteReader& reader);  // bad bytes fail the reader
  bool operator==(const SerialState&) const = default;
};

class Serial final : public IoHandler {
 public:
  // `state`: nullptr for a UART after reset. REQUIRES: interrupt and output outlive it.
  Serial(Interrupt& interrupt, LogSink& output, const SerialState* state = nullptr);

  std::string_view name() const override { return "serial"; }
  void Read(uint64_t offset, std::span<uint8_t> data) override;
  void Write(uint64_t offset, std::span<const uint8_t> data) override;

  SerialState Save() const;
  // Writes out an unfinished line.
  void Flush();
  // After a restore, once the vCPUs may be interrupted: repeats an interrupt that was pending.
  void Kick();

 private:
  uint8_t ReadRegister(uint64_t offset);
  void WriteRegister(uint64_t offset, uint8_t value);
  void Transmit(uint8_t value);
  bool divisor_latch() const { return (state_.line_control & 0x80) != 0; }
  bool loopback() const { return (state_.modem_control & 0x10) != 0; }
  uint8_t InterruptIdentification() const;
  uint8_t ModemStatus() const;
  void RaiseIfPending();

  mutable std::mutex mutex_;
  Interrupt& interrupt_;
  LogSink& output_;
  SerialState state_;
};

}  // namespace snapfaas::devices
