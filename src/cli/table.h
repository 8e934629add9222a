// A table for a terminal: columns as wide as their widest cell.
#pragma once

#include <string>
#include <vector>

namespace snapfaas::cli {

enum class Align { kLeft, kRight };

struct Column {
  std::string title;
  Align align = Align::kLeft;
};

// Lines that end in '\n', the titles first; every row has a cell for each column. What could move a terminal's cursor
// is left out.
std::string FormatTable(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

// "3s", "12m", "5h", "9d".
std::string ShortDuration(double seconds);

// "912 KiB", "3.4 MiB".
std::string ShortBytes(double bytes);

// A count without decimals.
std::string Count(double number);

}  // namespace snapfaas::cli
