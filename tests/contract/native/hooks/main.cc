// What is done around the function's snapshot, and that each microVM of it is another.
#include <sys/random.h>

#include <array>
#include <cstdint>
#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "runtime_client.h"

using nlohmann::json;

namespace {

std::mt19937_64 g_generator;

uint64_t RandomNumber() {
  uint64_t number = 0;
  if (::getrandom(&number, sizeof(number), 0) != sizeof(number)) throw std::runtime_error("getrandom");
  return number;
}

std::string BootId() {
  std::string line;
  std::getline(std::ifstream("/proc/sys/kernel/random/boot_id"), line);
  return line;
}

}  // namespace

int main() {
  lambda::Runtime runtime;
  json hooks = json::array();
  hooks.push_back("before");
  if (runtime.AwaitRestore()) {
    hooks.push_back("after");
  } else {
    hooks.clear();
  }
  g_generator.seed(RandomNumber());
  for (;;) {
    const lambda::Event event = runtime.Next();
    std::array<char, 40> uuid{};
    std::snprintf(uuid.data(), uuid.size(), "%016llx%016llx", static_cast<unsigned long long>(RandomNumber()),
                  static_cast<unsigned long long>(RandomNumber()));
    const json answer = {{"hooks", hooks}, {"random", g_generator() >> 11}, {"uuid", uuid.data()}, {"boot", BootId()}};
    runtime.Respond(event, answer.dump());
  }
}
