#include "kvm/vcpu_state.h"

#include "base/units.h"
#include "kvm/flexible_array.h"

namespace snapfaas::kvm {
namespace {

constexpr size_t kMaxXsave = 64_KiB;

}  // namespace

void VcpuState::Encode(ByteWriter& writer) const {
  writer.PutStruct(regs);
  writer.PutStruct(sregs);
  writer.PutBlob(xsave);
  writer.PutStruct(xcrs);
  writer.PutStruct(debugregs);
  writer.PutStruct(lapic);
  writer.PutStruct(mp_state);
  writer.PutStruct(events);
  writer.Put(static_cast<uint32_t>(msrs.size()));
  for (const kvm_msr_entry& msr : msrs) {
    writer.Put(static_cast<uint32_t>(msr.index));
    writer.Put(static_cast<uint64_t>(msr.data));
  }
  writer.Put(tsc_khz);
}

Result<VcpuState> VcpuState::Decode(std::span<const uint8_t> bytes) {
  ByteReader reader(bytes);
  VcpuState state;
  state.regs = reader.GetStruct<kvm_regs>();
  state.sregs = reader.GetStruct<kvm_sregs>();
  const auto xsave = reader.GetBlob(kMaxXsave);
  state.xsave.assign(xsave.begin(), xsave.end());
  if (state.xsave.size() < kXsaveBytes) reader.MarkBad();
  state.xcrs = reader.GetStruct<kvm_xcrs>();
  if (state.xcrs.nr_xcrs > KVM_MAX_XCRS) reader.MarkBad();
  state.debugregs = reader.GetStruct<kvm_debugregs>();
  state.lapic = reader.GetStruct<kvm_lapic_state>();
  state.mp_state = reader.GetStruct<kvm_mp_state>();
  state.events = reader.GetStruct<kvm_vcpu_events>();
  const uint32_t count = reader.GetCount(kMaxMsrs);
  state.msrs.reserve(count);
  for (uint32_t i = 0; i < count; ++i) {
    kvm_msr_entry msr{};
    msr.index = reader.Get<uint32_t>();
    msr.data = reader.Get<uint64_t>();
    state.msrs.push_back(msr);
  }
  state.tsc_khz = reader.Get<uint32_t>();
  auto done = reader.Finish("a vCPU's state");
  if (!done) return Forward(done.error());
  return state;
}

}  // namespace snapfaas::kvm
