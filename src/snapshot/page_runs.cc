#include "snapshot/page_runs.h"

#include <algorithm>

namespace snapfaas::snapshot {
namespace {

void AppendRun(std::vector<PageRun>& runs, const PageRun& run, uint32_t gap) {
  if (runs.empty() || run.first_page > runs.back().end() + gap) {
    runs.push_back(run);
    return;
  }
  const uint64_t end = std::max(runs.back().end(), run.end());
  runs.back().pages = static_cast<uint32_t>(end - runs.back().first_page);
}

}  // namespace

void AppendPage(std::vector<PageRun>& runs, uint64_t page) { AppendRun(runs, {static_cast<uint32_t>(page), 1}, 0); }

std::vector<PageRun> Merge(const std::vector<PageRun>& a, const std::vector<PageRun>& b) {
  std::vector<PageRun> all;
  all.reserve(a.size() + b.size());
  const auto before = [](const PageRun& x, const PageRun& y) { return x.first_page < y.first_page; };
  std::merge(a.begin(), a.end(), b.begin(), b.end(), std::back_inserter(all), before);
  return Coalesce(all, 0);
}

std::vector<PageRun> Subtract(const std::vector<PageRun>& runs, const std::vector<PageRun>& others) {
  std::vector<PageRun> left;
  auto other = others.begin();
  for (const PageRun& run : runs) {
    uint64_t at = run.first_page;
    while (other != others.end() && other->end() <= at) ++other;
    for (auto cut = other; cut != others.end() && cut->first_page < run.end(); ++cut) {
      if (cut->first_page > at)
        left.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(cut->first_page - at)});
      at = std::max(at, cut->end());
    }
    if (at < run.end()) left.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(run.end() - at)});
  }
  return left;
}

std::vector<PageRun> Coalesce(const std::vector<PageRun>& runs, uint32_t gap) {
  std::vector<PageRun> result;
  for (const PageRun& run : runs) AppendRun(result, run, gap);
  return result;
}

void PutRuns(ByteWriter& writer, const std::vector<PageRun>& runs) {
  writer.Put(static_cast<uint32_t>(runs.size()));
  for (const PageRun& run : runs) {
    writer.Put(run.first_page);
    writer.Put(run.pages);
  }
}

std::vector<PageRun> GetRuns(ByteReader& reader, uint64_t memory_bytes) {
  const uint64_t memory_pages = memory_bytes / kPageSize;
  // A run and a gap are two pages at least, which bounds the count by the memory.
  const uint32_t count = reader.GetCount(static_cast<uint32_t>(memory_pages / 2 + 1));
  std::vector<PageRun> runs;
  runs.reserve(std::min<size_t>(count, reader.remaining() / sizeof(PageRun)));
  for (uint32_t i = 0; i < count && reader.ok(); ++i) {
    PageRun run;
    run.first_page = reader.Get<uint32_t>();
    run.pages = reader.Get<uint32_t>();
    const bool follows = runs.empty() || run.first_page > runs.back().end();
    if (run.pages == 0 || run.end() > memory_pages || !follows) reader.MarkBad();
    runs.push_back(run);
  }
  return runs;
}

}  // namespace snapfaas::snapshot
