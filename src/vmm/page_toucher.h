// Touching guest pages ahead of the guest, so that KVM has them in its nested page tables.
//
// KVM fills those tables only when a guest touches a page, an exit each (KVM_PRE_FAULT_MEMORY is younger than the
// kernels we run on). So a vCPU that has nothing to do yet runs a few instructions that read a byte of each page.
#pragma once

#include <span>

#include "base/mapped_region.h"
#include "base/result.h"
#include "kvm/vcpu.h"
#include "memory/guest_address.h"
#include "memory/page_run.h"

namespace snapfaas::vmm {

// `page` is a page of guest memory at `base`, below 4 GiB, that the guest may only read; its contents are lost. The
// vCPU's registers are lost too. REQUIRES: the vCPU has not run yet, and nobody else runs it.
Status TouchPages(kvm::Vcpu& vcpu, const MappedRegion& page, GuestAddress base, std::span<const PageRun> runs);

}  // namespace snapfaas::vmm
