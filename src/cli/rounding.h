// How many digits of a number a report shows.
#pragma once

#include <cmath>

namespace snapfaas::cli {

// To so many digits after the point.
inline double RoundedTo(int digits, double value) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

// To thousandths: in milliseconds, what is beyond is noise.
inline double Rounded(double value) { return RoundedTo(3, value); }

}  // namespace snapfaas::cli
