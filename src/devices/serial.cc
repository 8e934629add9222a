#include "devices/serial.h"

#include <algorithm>

namespace snapfaas::devices {
namespace {

// Register offsets; with the divisor latch open the first two are its halves.
constexpr uint64_t kData = 0;             // RBR, THR, DLL
constexpr uint64_t kInterruptEnable = 1;  // IER, DLM
constexpr uint64_t kInterruptIdent = 2;   // IIR when read, FCR when written
constexpr uint64_t kLineControl = 3;
constexpr uint64_t kModemControl = 4;
constexpr uint64_t kLineStatus = 5;
constexpr uint64_t kModemStatus = 6;
constexpr uint64_t kScratch = 7;

constexpr uint8_t kIerReceived = 0x01;
constexpr uint8_t kIerTransmit = 0x02;
constexpr uint8_t kIerMask = 0x0f;

constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirTransmit = 0x02;
constexpr uint8_t kIirReceived = 0x04;
constexpr uint8_t kIirFifos = 0xc0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kMcrMask = 0x1f;

constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrTransmitterIdle = 0x60;  // THRE and TEMT: output never waits

constexpr uint8_t kMsrPresent = 0xb0;  // DCD, DSR, CTS: the other end is there

}  // namespace

void SerialState::Encode(ByteWriter& writer) const {
  for (const uint8_t value :
       {interrupt_enable, fifo_control, line_control, modem_control, scratch, divisor_low, divisor_high, received}) {
    writer.Put(value);
  }
  writer.Put(static_cast<uint8_t>(data_ready ? 1 : 0));
  writer.Put(static_cast<uint8_t>(transmit_pending ? 1 : 0));
}

SerialState SerialState::Decode(ByteReader& reader) {
  SerialState state;
  for (uint8_t* value : {&state.interrupt_enable, &state.fifo_control, &state.line_control, &state.modem_control,
                         &state.scratch, &state.divisor_low, &state.divisor_high, &state.received}) {
    *value = reader.Get<uint8_t>();
  }
  const auto data_ready = reader.Get<uint8_t>();
  const auto transmit_pending = reader.Get<uint8_t>();
  if (data_ready > 1 || transmit_pending > 1 || state.interrupt_enable > kIerMask || state.modem_control > kMcrMask ||
      state.fifo_control > kFcrEnable) {
    reader.MarkBad();
  }
  state.data_ready = data_ready == 1;
  state.transmit_pending = transmit_pending == 1;
  return state;
}

Serial::Serial(Interrupt& interrupt, LogSink& output, const SerialState* state)
    : interrupt_(interrupt), output_(output), state_(state == nullptr ? SerialState{} : *state) {}

void Serial::Read(uint64_t offset, std::span<uint8_t> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) data[i] = ReadRegister(offset + i);
}

void Serial::Write(uint64_t offset, std::span<const uint8_t> data) {
  const std::lock_guard lock(mutex_);
  for (size_t i = 0; i < data.size(); ++i) WriteRegister(offset + i, data[i]);
}

SerialState Serial::Save() const {
  const std::lock_guard lock(mutex_);
  return state_;
}

void Serial::Flush() {
  const std::lock_guard lock(mutex_);
  output_.Flush();
}

void Serial::Kick() {
  const std::lock_guard lock(mutex_);
  RaiseIfPending();
}

uint8_t Serial::ReadRegister(uint64_t offset) {
  switch (offset) {
    case kData:
      if (divisor_latch()) return state_.divisor_low;
      state_.data_ready = false;
      return state_.received;
    case kInterruptEnable:
      return divisor_latch() ? state_.divisor_high : state_.interrupt_enable;
    case kInterruptIdent: {
      const uint8_t cause = InterruptIdentification();
      // Reading IIR clears a transmitter interrupt when it is the one reported.
      if (cause == kIirTransmit) state_.transmit_pending = false;
      return cause | ((state_.fifo_control & kFcrEnable) != 0 ? kIirFifos : uint8_t{0});
    }
    case kLineControl:
      return state_.line_control;
    case kModemControl:
      return state_.modem_control;
    case kLineStatus:
      return kLsrTransmitterIdle | (state_.data_ready ? kLsrDataReady : uint8_t{0});
    case kModemStatus:
      return ModemStatus();
    case kScratch:
      return state_.scratch;
    default:
      return 0xff;
  }
}

void Serial::WriteRegister(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_latch()) {
        state_.divisor_low = value;
      } else {
        Transmit(value);
      }
      break;
    case kInterruptEnable:
      if (divisor_latch()) {
        state_.divisor_high = value;
        break;
      }
      // Enabling the transmitter interrupt while the transmitter is empty, as it always is, raises it: Linux's driver
      // tests for it.
      if ((value & kIerTransmit) != 0 && (state_.interrupt_enable & kIerTransmit) == 0) state_.transmit_pending = true;
      state_.interrupt_enable = value & kIerMask;
      RaiseIfPending();
      break;
    case kInterruptIdent:
      state_.fifo_control = value & kFcrEnable;  // the other bits reset FIFOs, which are empty, or set trigger levels
      break;
    case kLineControl:
      state_.line_control = value;
      break;
    case kModemControl:
      state_.modem_control = value & kMcrMask;
      break;
    case kScratch:
      state_.scratch = value;
      break;
    default:
      break;
  }
}

void Serial::Transmit(uint8_t value) {
  if (loopback()) {
    state_.received = value;
    state_.data_ready = true;
  } else {
    output_.Write({&value, 1});
  }
  state_.transmit_pending = true;
  RaiseIfPending();
}

uint8_t Serial::InterruptIdentification() const {
  if (state_.data_ready && (state_.interrupt_enable & kIerReceived) != 0) return kIirReceived;
  if (state_.transmit_pending && (state_.interrupt_enable & kIerTransmit) != 0) return kIirTransmit;
  return kIirNone;
}

uint8_t Serial::ModemStatus() const {
  if (!loopback()) return kMsrPresent;
  // In loopback DTR, RTS, OUT1 and OUT2 come back as DSR, CTS, RI and DCD.
  const unsigned mcr = state_.modem_control;
  return static_cast<uint8_t>(((mcr & 0x01u) << 5) | ((mcr & 0x02u) << 3) | ((mcr & 0x04u) << 4) |
                              ((mcr & 0x08u) << 4));
}

void Serial::RaiseIfPending() {
  if (InterruptIdentification() != kIirNone) interrupt_.Trigger();
}

}  // namespace snapfaas::devices
