#include "sim/csv.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace snapfaas::sim {

Result<CsvReader> CsvReader::Create(std::string_view text, std::string name) {
  CsvReader reader(text, std::move(name));
  if (!reader.ReadLine()) return Fail(ErrorCode::kInvalidArgument, "{}: the file is empty", reader.name_);
  reader.titles_ = reader.fields_;
  return reader;
}

Result<size_t> CsvReader::Column(std::string_view title) const {
  const auto found = std::find(titles_.begin(), titles_.end(), title);
  if (found != titles_.end()) return static_cast<size_t>(found - titles_.begin());
  return Fail(ErrorCode::kInvalidArgument, "{}:1: there is no column {}: is this the right file?", name_, title);
}

size_t CsvReader::CountNumbered(size_t first) const {
  size_t count = 0;
  while (first + count < titles_.size() && titles_[first + count] == fmt::format_int(count + 1).c_str()) ++count;
  return count;
}

Result<bool> CsvReader::Next() {
  if (!ReadLine()) return false;
  if (fields_.size() == titles_.size()) return true;
  return Fault(fmt::format("{} fields, but there are {} columns", fields_.size(), titles_.size()));
}

Result<double> CsvReader::Number(size_t column) const {
  const std::string_view text = fields_[column];
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error == std::errc() && end == text.data() + text.size() && std::isfinite(value) && value >= 0) return value;
  return Fault(fmt::format("{} must be a number that is not negative, not \"{}\"", titles_[column], text));
}

tl::unexpected<Error> CsvReader::Fault(const std::string& what) const {
  return Fail(ErrorCode::kInvalidArgument, "{}:{}: {}", name_, line_, what);
}

bool CsvReader::ReadLine() {
  std::string_view line;
  while (line.empty()) {
    if (text_.empty()) return false;
    const size_t end = std::min(text_.find('\n'), text_.size());
    line = text_.substr(0, end);
    text_.remove_prefix(std::min(end + 1, text_.size()));
    if (line.ends_with('\r')) line.remove_suffix(1);
    ++line_;
  }
  fields_.clear();
  for (;;) {
    const size_t comma = line.find(',');
    fields_.push_back(line.substr(0, comma));
    if (comma == std::string_view::npos) return true;
    line.remove_prefix(comma + 1);
  }
}

}  // namespace snapfaas::sim
