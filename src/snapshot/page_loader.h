// Putting a snapshot's memory under a microVM.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/mapped_region.h"
#include "base/result.h"
#include "memory/guest_memory.h"
#include "memory/page_run.h"

namespace snapfaas::snapshot {

// Which of the files a stretch of memory comes from.
enum class ImageFile : uint32_t {
  kOverlay = 0,  // what a function snapshot has beside its base; offsets are guest-physical addresses
  // For a base snapshot that is mapped from disk:
  kKernel = 1,      // the runtime's kernel image
  kPacked = 2,      // the working set's pages side by side (working_pages.h)
  kKernelText = 3,  // in memory (kernel_text.h)
};

struct MapExtent {
  PageRun run;
  ImageFile file = ImageFile::kOverlay;
  uint32_t file_page = 0;  // what run.first_page is in the file

  bool operator==(const MapExtent&) const = default;
};

// Whether the files are to be fetched from a disk before their pages are touched.
enum class ReadAhead : uint32_t { kNo = 0, kYes = 1 };

// How a snapshot is put together, and what a restore does well to bring in at once. Made when the snapshot is loaded,
// so that a restore only obeys.
struct RestorePlan {
  std::vector<MapExtent> extents;  // laid over the image, later ones over earlier ones
  std::vector<PageRun> changed;    // pages that differ from the base, of what kOverlay has
  std::vector<PageRun> read;       // pages to be mapped ahead
  std::vector<PageRun> written;    // pages to be copied ahead: a fault for reading would not save the one for writing
  std::vector<PageRun> late;       // those of `written` that are still to be copied where the base was prefetched
  ReadAhead read_ahead = ReadAhead::kNo;

  bool operator==(const RestorePlan&) const = default;
};

std::vector<uint8_t> EncodePlan(const RestorePlan& plan);
// kCorrupt when it is not a plan for a memory of so many bytes.
Result<RestorePlan> DecodePlan(std::span<const uint8_t> bytes, uint64_t memory_bytes);
Result<RestorePlan> ReadPlan(int fd, uint64_t memory_bytes);

// Borrowed descriptors; -1: there is none.
struct ImageFiles {
  int image = -1;
  int overlay = -1;
  int kernel = -1;
  int packed = -1;
  int kernel_text = -1;
};

// The poster's way: reads all that the files hold into fresh, zeroed memory.
Status CopyMemory(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory);

// What becomes of the extents of kPacked: mapped as the others, or left out, for TakePacked.
enum class PackedPages { kMapped, kLeftOut };

// Maps the files privately, copy on write. kCorrupt: a file is too short; its missing pages would kill this process.
Status MapMemory(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory,
                 PackedPages packed = PackedPages::kMapped);

// Makes the function snapshot's memory of its base's, which was prefetched and has not been run: writes the changed
// pages where they belong, most of which are this mapping's own already and cost no fault, and copies the late ones.
Status PlaceOverBase(const ImageFiles& files, const RestorePlan& plan, GuestMemory& memory);

// Makes a used microVM's memory that of its snapshot again: every page that it has of its own is written anew, which
// keeps them in the host's and in KVM's page tables. Pages beyond `most` of them are dropped instead, so that what one
// request has used does not stay for ever. REQUIRES: MapMemory, or PlaceOverBase; the files are in memory.
Status RevertMemory(const ImageFiles& files, const RestorePlan& plan, uint64_t most, GuestMemory& memory);

// The file of packed pages, for TakePacked. It takes as long as the disk does and needs nothing but the file: best on a
// thread of its own beside MapMemory. kCorrupt: the file is too short.
//
// They are read, not mapped (REAP, ASPLOS '21): a mapping's pages are fetched by faults, each of which waits for the
// disk, go through the page cache one by one, and are copied once more where they are written. It costs the sharing of
// them between microVMs.
Result<MappedRegion> ReadPacked(const ImageFiles& files, const RestorePlan& plan);

// Moves what ReadPacked has read to where it belongs. REQUIRES: MapMemory without them.
Status TakePacked(const MappedRegion& packed, const RestorePlan& plan, GuestMemory& memory);

// Where nothing is packed: has the host fetch the plan's pages from the disk; does nothing where the plan says they are
// in memory. Best on a thread of its own beside MapMemory and PrefetchMemory.
void FetchAhead(const ImageFiles& files, const RestorePlan& plan);

// Brings the plan's pages in. REQUIRES: MapMemory, with all extents. It is advice: what cannot be brought in comes by
// faults.
void PrefetchMemory(const RestorePlan& plan, GuestMemory& memory);

}  // namespace snapfaas::snapshot
