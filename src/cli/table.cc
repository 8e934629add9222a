#include "cli/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace snapfaas::cli {
namespace {

std::string Printable(const std::string& text) {
  std::string shown;
  std::copy_if(text.begin(), text.end(), std::back_inserter(shown),
               [](char c) { return static_cast<unsigned char>(c) >= ' ' && c != '\x7f'; });
  return shown;
}

// In characters of UTF-8, each taken to be one column wide.
size_t WidthOf(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; }));
}

std::string FormatRow(const std::vector<Column>& columns, const std::vector<size_t>& widths,
                      const std::vector<std::string>& cells) {
  std::string line;
  for (size_t i = 0; i < columns.size(); ++i) {
    const std::string padding(widths[i] - WidthOf(cells[i]), ' ');
    if (i > 0) line += "  ";
    line += columns[i].align == Align::kRight ? padding + cells[i] : cells[i] + padding;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

}  // namespace

std::string FormatTable(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::vector<std::string>> lines(1);
  for (const Column& column : columns) lines[0].push_back(column.title);
  for (const auto& row : rows) {
    auto& cells = lines.emplace_back();
    for (const std::string& cell : row) cells.push_back(Printable(cell));
  }
  std::vector<size_t> widths(columns.size(), 0);
  for (const auto& cells : lines) {
    for (size_t i = 0; i < columns.size(); ++i) widths[i] = std::max(widths[i], WidthOf(cells[i]));
  }
  std::string text;
  for (const auto& cells : lines) text += FormatRow(columns, widths, cells);
  return text;
}

std::string ShortDuration(double seconds) {
  if (seconds < 120) return fmt::format("{:.0f}s", seconds);
  if (seconds < 120 * 60) return fmt::format("{:.0f}m", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{:.0f}h", seconds / 3600);
  return fmt::format("{:.0f}d", seconds / 86400);
}

std::string ShortBytes(double bytes) {
  if (bytes < 1024) return fmt::format("{:.0f} B", bytes);
  if (bytes < 1024 * 1024) return fmt::format("{:.0f} KiB", bytes / 1024);
  return fmt::format("{:.1f} MiB", bytes / (1024 * 1024));
}

std::string Count(double number) { return fmt::format("{:.0f}", number); }

}  // namespace snapfaas::cli
