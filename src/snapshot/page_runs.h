// Lists of PageRuns: building and encoding them.
#pragma once

#include <cstdint>
#include <vector>

#include "base/coding.h"
#include "memory/page_run.h"

namespace snapfaas::snapshot {

// REQUIRES: `page` is behind every page in `runs`.
void AppendPage(std::vector<PageRun>& runs, uint64_t page);

// The union of two ascending lists.
std::vector<PageRun> Merge(const std::vector<PageRun>& a, const std::vector<PageRun>& b);

// The pages of `runs` that are not in `others`; both ascend.
std::vector<PageRun> Subtract(const std::vector<PageRun>& runs, const std::vector<PageRun>& others);

// Runs that are at most `gap` pages apart become one, the pages between them included.
std::vector<PageRun> Coalesce(const std::vector<PageRun>& runs, uint32_t gap);

// A u32 count, then u32 first page and u32 pages of each.
void PutRuns(ByteWriter& writer, const std::vector<PageRun>& runs);
// Fails the reader unless they ascend, do not overlap or touch, and lie within a memory of so many bytes.
std::vector<PageRun> GetRuns(ByteReader& reader, uint64_t memory_bytes);

}  // namespace snapfaas::snapshot
