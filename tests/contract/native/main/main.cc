// Does as the event says: the shared suite's main function.
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "runtime_client.h"

using nlohmann::json;

namespace {

int g_count = 0;

std::string Known(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

size_t Characters(const std::string& text) {
  size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xc0U) != 0x80U ? 1 : 0;
  return count;
}

json Log(int lines) {
  for (int i = 1; i <= lines; ++i) {
    std::printf("out %d\n", i);
    std::fprintf(stderr, "err %d\n", i);
  }
  std::fflush(stdout);
  return nullptr;
}

json Context(const lambda::Event& event) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const long long now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
  const json client = json::parse(event.client_context, nullptr, false);
  return {{"requestId", event.request_id},
          {"functionName", Known("AWS_LAMBDA_FUNCTION_NAME")},
          {"functionVersion", Known("AWS_LAMBDA_FUNCTION_VERSION")},
          {"memory", Known("AWS_LAMBDA_FUNCTION_MEMORY_SIZE")},
          {"arn", event.arn},
          {"remaining", event.deadline_ms - now_ms},
          {"logStream", Known("AWS_LAMBDA_LOG_STREAM_NAME")},
          {"custom", client.is_object() ? client.value("custom", json()) : json()}};
}

json Environment() {
  std::vector<char> folder(4096);
  const char* cwd = ::getcwd(folder.data(), folder.size());
  return {{"handler", Known("_HANDLER")},
          {"region", Known("AWS_REGION")},
          {"value", Known("CONTRACT_VALUE")},
          {"cwd", cwd == nullptr ? "" : cwd},
          {"root", Known("LAMBDA_TASK_ROOT")}};
}

json AppendByte() {
  std::ofstream("/tmp/contract", std::ios::app) << 'x';
  struct stat status {};
  ::stat("/tmp/contract", &status);
  return {{"bytes", status.st_size}};
}

[[noreturn]] void FillMemory() {
  for (;;) {
    constexpr size_t kPiece = size_t{1} << 20;
    void* piece = std::malloc(kPiece);
    if (piece == nullptr) std::abort();
    std::memset(piece, 1, kPiece);
  }
}

json Handle(const lambda::Event& event, const json& value) {
  const std::string what = value.at("case");
  if (what == "echo") return {{"echo", value.at("value")}};
  if (what == "raise") throw std::runtime_error("wanted: \u00e4");
  if (what == "log") return Log(value.at("lines"));
  if (what == "large") {
    return {{"length", Characters(value.value("padding", ""))}, {"text", std::string(value.value("bytes", 0U), 'x')}};
  }
  if (what == "context") return Context(event);
  if (what == "environment") return Environment();
  if (what == "tmp") return AppendByte();
  if (what == "sleep") {
    std::this_thread::sleep_for(std::chrono::duration<double>(value.at("seconds").get<double>()));
    return {{"slept", value.at("seconds")}};
  }
  if (what == "memory") FillMemory();
  if (what == "exit") std::exit(3);
  if (what == "signal") ::raise(SIGSEGV);
  if (what == "count") return {{"count", g_count}};
  throw std::invalid_argument("no such case: " + what);
}

std::string Report(const char* type, const std::exception& error) {
  const json report = {{"errorType", type}, {"errorMessage", error.what()}, {"stackTrace", json::array()}};
  return report.dump();
}

}  // namespace

int main() {
  lambda::Runtime runtime;
  runtime.AwaitRestore();
  for (;;) {
    const lambda::Event event = runtime.Next();
    ++g_count;
    std::string answer;
    try {
      answer = Handle(event, json::parse(event.body)).dump();
    } catch (const std::runtime_error& error) {
      runtime.Fail(event, Report("std::runtime_error", error));
      continue;
    } catch (const std::exception& error) {
      runtime.Fail(event, Report("std::exception", error));
      continue;
    }
    try {
      runtime.Respond(event, answer);
    } catch (const std::runtime_error& error) {
      // Too large: the caller knows already.
      std::fprintf(stderr, "%s\n", error.what());
    }
  }
}
