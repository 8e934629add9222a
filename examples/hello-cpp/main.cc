// Greets in the language asked for: {"name": "Ada", "language": "fr"} gives {"greeting": "Bonjour, Ada !"}.
#include <cstdio>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <string>

#include "runtime_client.h"

using nlohmann::json;

namespace {

json Handle(const json& event) {
  static const std::map<std::string, std::pair<std::string, std::string>> kGreetings = {
      {"de", {"Hallo, ", "!"}}, {"en", {"Hello, ", "!"}}, {"es", {"¡Hola, ", "!"}}, {"fr", {"Bonjour, ", " !"}}};
  const auto& [before, after] = kGreetings.at(event.value("language", "en"));
  return {{"greeting", before + event.at("name").get<std::string>() + after}};
}

json Report(const char* type, const char* message) {
  return {{"errorType", type}, {"errorMessage", message}, {"stackTrace", json::array()}};
}

}  // namespace

int main() {
  lambda::Runtime runtime;
  runtime.AwaitRestore();
  for (;;) {
    const lambda::Event event = runtime.Next();
    try {
      const std::string answer = Handle(json::parse(event.body)).dump();
      runtime.Respond(event, answer);
    } catch (const std::out_of_range&) {
      runtime.Fail(event, Report("UnknownLanguage", "the languages are de, en, es and fr").dump());
    } catch (const json::exception& error) {
      runtime.Fail(event, Report("BadEvent", error.what()).dump());
    }
  }
}
