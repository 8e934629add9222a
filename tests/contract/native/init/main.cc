// A function that cannot be loaded.
#include <stdexcept>

#include "runtime_client.h"

int main() {
  lambda::Runtime runtime;
  try {
    throw std::runtime_error("wanted: \u00e4");
  } catch (const std::runtime_error& error) {
    runtime.FailInit(std::string(R"({"errorType":"std::runtime_error","errorMessage":")") + error.what() + "\"}");
  }
  return 1;
}
