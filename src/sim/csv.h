// Comma-separated values with a line of titles, read a line at a time. No quotes: the traces have none.
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace snapfaas::sim {

class CsvReader {
 public:
  // kInvalidArgument: it has no line at all. REQUIRES: the text outlives it.
  static Result<CsvReader> Create(std::string_view text, std::string name);

  // The place of a column. kInvalidArgument: there is none of that title.
  Result<size_t> Column(std::string_view title) const;
  // How many columns from `first` on are numbered 1, 2, ...
  size_t CountNumbered(size_t first) const;

  // False: there are no more lines. kInvalidArgument: the next one has another number of fields than the titles.
  Result<bool> Next();

  std::string_view Field(size_t column) const { return fields_[column]; }
  // kInvalidArgument: the field is no number from 0 on.
  Result<double> Number(size_t column) const;

  // "FILE:LINE: what", of the line read last.
  tl::unexpected<Error> Fault(const std::string& what) const;

 private:
  explicit CsvReader(std::string_view text, std::string name) : text_(text), name_(std::move(name)) {}

  bool ReadLine();

  std::string_view text_;  // what is left of it
  std::string name_;
  size_t line_ = 0;
  std::vector<std::string_view> titles_;
  std::vector<std::string_view> fields_;
};

}  // namespace snapfaas::sim
