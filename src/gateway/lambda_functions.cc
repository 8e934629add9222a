// Functions: CreateFunction to DeleteFunction.
#include <fmt/format.h>

#include <utility>

#include "base/base64.h"
#include "base/clock.h"
#include "gateway/lambda_answers.h"
#include "gateway/lambda_api.h"
#include "gateway/lambda_call.h"
#include "gateway/lambda_config.h"

namespace snapfaas::gateway {
namespace {

using registry::FunctionVersion;

// What the ARN of a version ends with where nobody has asked for a qualifier.
std::string_view OwnQualifier(const FunctionVersion& version) {
  return version.version == registry::kLatest ? std::string_view() : std::string_view(version.version);
}

LambdaError Unsupported(const char* what) {
  return InvalidParameterValue(fmt::format("This node does not support {}", what));
}

// Updates are of $LATEST alone.
std::optional<LambdaError> RequireUnqualified(const FunctionName& function) {
  if (function.qualifier.empty() || function.qualifier == registry::kLatest) return std::nullopt;
  return InvalidParameterValue(
      fmt::format("This operation changes $LATEST only, not {}: published versions do not change", function.qualifier));
}

std::string Revision(LambdaInput& input) { return input.String("RevisionId").value_or(""); }

std::optional<LambdaError> RefuseOtherSources(LambdaInput& code) {
  if (code.Has("S3Bucket") || code.Has("S3Key")) return Unsupported("code from S3: send it as ZipFile");
  if (code.Has("ImageUri")) return Unsupported("container images: send the code as ZipFile");
  return std::nullopt;
}

}  // namespace

LambdaResult<registry::StoredCode> LambdaApi::TakeCode(std::string_view zip_base64) {
  if (zip_base64.empty()) return tl::unexpected(InvalidParameterValue("Uploaded file must be a non-empty zip"));
  auto zip = DecodeBase64(zip_base64);
  if (!zip) return tl::unexpected(InvalidRequestContent(fmt::format("ZipFile: {}", zip.error().Message())));
  auto code = codes_.Put(*zip);
  if (!code) return tl::unexpected(FromError(code.error()));
  auto checked = deployments_.CheckZip(code->path());
  if (!checked && checked.error().code == ErrorCode::kInvalidArgument) {
    return tl::unexpected(InvalidParameterValue(
        fmt::format("Could not unzip uploaded file. Please check your file, then try to upload again. ({})",
                    checked.error().Message())));
  }
  if (!checked) return tl::unexpected(FromError(checked.error()));
  return *std::move(code);
}

std::optional<LambdaError> LambdaApi::CheckRuntime(const std::string& runtime) {
  const registry::Runtime* ours = deployments_.Runtimes().Find(runtime);
  if (ours != nullptr && deployments_.HasRuntime(ours->name)) return std::nullopt;
  std::vector<std::string> built;
  for (const registry::Runtime& known : deployments_.Runtimes().all()) {
    if (!deployments_.HasRuntime(known.name)) continue;
    built.push_back(known.name);
    built.insert(built.end(), known.lambda_names.begin(), known.lambda_names.end());
  }
  const auto there = built.empty() ? "has none yet" : fmt::format("has: {}", fmt::join(built, ", "));
  if (ours == nullptr) {
    return InvalidParameterValue(
        fmt::format("Value {} at 'runtime' failed to satisfy constraint: the runtime is unknown. This node {}. Others "
                    "are built with: snapfaas runtime build NAME",
                    runtime, there));
  }
  return InvalidParameterValue(
      fmt::format("Value {} at 'runtime' failed to satisfy constraint: the runtime {} is not built on this node, which "
                  "{}. Build it "
                  "with: snapfaas runtime build {}",
                  runtime, ours->name, there, ours->name));
}

// What could not be removed is left for the next time.
void LambdaApi::SweepCodes() { [[maybe_unused]] const auto swept = codes_.Sweep(); }

LambdaApi::Outcome LambdaApi::CreateFunction(LambdaCall& call) {
  auto& input = call.input;
  for (const char* member : {"FunctionName", "Role", "Code"}) input.Require(member);
  const auto name_text = input.String("FunctionName").value_or("");
  registry::FunctionConfig config;
  ReadConfig(input, options_.max_memory_mib, config);
  input.OneOf("PackageType", {"Zip", "Image"});
  const auto tags = input.StringMap("Tags").value_or(registry::Registry::Tags());
  const bool publish = input.Bool("Publish").value_or(false);
  const bool dry_run = input.Bool("DryRun").value_or(false);
  auto code = input.Object("Code");
  const auto zip = code ? code->LargeString("ZipFile") : std::nullopt;
  if (input.error()) return tl::unexpected(*input.error());

  const auto name = ParseFunctionName(name_text, options_.place);
  if (!name) return tl::unexpected(name.error());
  if (auto qualified = RequireUnqualified(*name)) return tl::unexpected(*qualified);
  if (auto refused = CheckTags(tags)) return tl::unexpected(*refused);
  if (auto other = RefuseOtherSources(*code)) return tl::unexpected(*other);
  if (config.runtime.empty() || config.handler.empty()) {
    return tl::unexpected(InvalidParameterValue(
        "Runtime and Handler are mandatory parameters for functions created with deployment packages."));
  }
  if (auto refused = CheckRuntime(config.runtime)) return tl::unexpected(*refused);
  if (!zip) return tl::unexpected(InvalidParameterValue("Please provide a source for function code."));
  auto exists = registry_.GetFunction(name->name, "");
  if (exists) return tl::unexpected(ResourceConflict(fmt::format("Function already exist: {}", name->name)));
  auto stored = TakeCode(*zip);
  if (!stored) return tl::unexpected(stored.error());
  if (dry_run) {
    FunctionVersion would_be;
    would_be.function = name->name;
    would_be.version = registry::kLatest;
    would_be.config = config;
    would_be.code = stored->code();
    return LambdaAnswer(201, Describe(would_be, ""));
  }
  auto made = registry_.CreateFunction(name->name, config, stored->code(), tags,
                                       publish ? registry::Publish::kYes : registry::Publish::kNo);
  if (!made && made.error().code == ErrorCode::kAlreadyExists) {
    return tl::unexpected(ResourceConflict(fmt::format("Function already exist: {}", name->name)));
  }
  if (!made) return tl::unexpected(FromError(made.error()));
  deployments_.Start(name->name, registry::kLatest);
  if (publish) deployments_.Start(name->name, made->version);
  return LambdaAnswer(201, Describe(*made, OwnQualifier(*made)));
}

LambdaApi::Outcome LambdaApi::ListFunctions(LambdaCall& call) {
  const auto page = PageOf(call);
  if (!page) return tl::unexpected(page.error());
  const auto which = call.Query("FunctionVersion");
  if (which && *which != "ALL") {
    return tl::unexpected(ConstraintViolated(*which, "functionVersion", "Member must satisfy enum value set: [ALL]"));
  }
  const auto listed = which ? registry_.ListFunctionsAndVersions(*page) : registry_.ListFunctions(*page);
  if (!listed) return tl::unexpected(FromError(listed.error()));
  return LambdaAnswer(200, ListAnswer("Functions", *listed, [&](const FunctionVersion& version) {
                        return Describe(version, which ? std::string_view(version.version) : "");
                      }));
}

LambdaApi::Outcome LambdaApi::GetFunction(LambdaCall& call) {
  const auto version = Find(call.function);
  if (!version) return tl::unexpected(version.error());
  const auto tags = registry_.GetTags(call.function.name);
  const auto reserved = registry_.GetReservedConcurrency(call.function.name);
  if (!tags) return tl::unexpected(Refusal(tags.error(), call.function));
  if (!reserved) return tl::unexpected(Refusal(reserved.error(), call.function));
  const auto location = CodeLocation(*version);
  if (!location) return tl::unexpected(location.error());
  Json answer = {{"Configuration", Describe(*version, call.function.qualifier)},
                 {"Code", {{"RepositoryType", "S3"}, {"Location", *location}}}};
  if (!tags->empty()) answer["Tags"] = *tags;
  if (*reserved) answer["Concurrency"] = {{"ReservedConcurrentExecutions", **reserved}};
  return LambdaAnswer(200, std::move(answer));
}

// As Lambda's, good for ten minutes and for who has the link.
LambdaResult<std::string> LambdaApi::CodeLocation(const FunctionVersion& version) const {
  constexpr int64_t kGoodForSeconds = 600;
  const std::string path = fmt::format("/2015-03-31/functions/{}/code", version.function);
  std::string query = fmt::format("Qualifier={}", http::PercentEncode(version.version));
  if (options_.credentials) {
    const std::string host = options_.endpoint.substr(options_.endpoint.find("://") + 3);
    auto signed_query = http::PresignGet(*options_.credentials, {options_.place.region},
                                         RealtimeNanos() / 1'000'000'000, kGoodForSeconds, host, path, query);
    if (!signed_query) return tl::unexpected(FromError(signed_query.error()));
    query = *std::move(signed_query);
  }
  return fmt::format("{}{}?{}", options_.endpoint, path, query);
}

LambdaApi::Outcome LambdaApi::GetFunctionConfiguration(LambdaCall& call) {
  const auto version = Find(call.function);
  if (!version) return tl::unexpected(version.error());
  return LambdaAnswer(200, Describe(*version, call.function.qualifier));
}

LambdaApi::Outcome LambdaApi::GetCode(LambdaCall& call) {
  const auto version = Find(call.function);
  if (!version) return tl::unexpected(version.error());
  auto zip = codes_.Read(version->code.sha256);
  if (!zip) return tl::unexpected(FromError(zip.error()));
  return LambdaAnswer(*std::move(zip));
}

LambdaApi::Outcome LambdaApi::UpdateFunctionCode(LambdaCall& call) {
  auto& input = call.input;
  const std::string revision = Revision(input);
  registry::Registry::CodeUpdate update;
  update.publish = input.Bool("Publish").value_or(false) ? registry::Publish::kYes : registry::Publish::kNo;
  update.architectures = ReadArchitectures(input);
  const bool dry_run = input.Bool("DryRun").value_or(false);
  const auto zip = input.LargeString("ZipFile");
  if (input.error()) return tl::unexpected(*input.error());
  if (auto qualified = RequireUnqualified(call.function)) return tl::unexpected(*qualified);
  if (auto other = RefuseOtherSources(input)) return tl::unexpected(*other);
  if (!zip) return tl::unexpected(InvalidParameterValue("Please provide a source for function code."));
  auto latest = Find({call.function.name, ""});
  if (!latest) return tl::unexpected(latest.error());
  auto stored = TakeCode(*zip);
  if (!stored) return tl::unexpected(stored.error());
  update.code = stored->code();
  if (dry_run) {
    latest->code = update.code;
    return LambdaAnswer(200, Describe(*latest, ""));
  }
  const auto updated = registry_.UpdateCode(call.function.name, update, revision);
  if (!updated) return tl::unexpected(Refusal(updated.error(), call.function));
  deployments_.Start(call.function.name, registry::kLatest);
  if (update.publish == registry::Publish::kYes) deployments_.Start(call.function.name, updated->version);
  SweepCodes();
  return LambdaAnswer(200, Describe(*updated, OwnQualifier(*updated)));
}

LambdaApi::Outcome LambdaApi::UpdateFunctionConfiguration(LambdaCall& call) {
  auto& input = call.input;
  const std::string revision = Revision(input);
  // All is checked before the registry's lock is taken; below it is read once more.
  registry::FunctionConfig checked;
  ReadConfig(input, options_.max_memory_mib, checked);
  if (input.error()) return tl::unexpected(*input.error());
  if (auto qualified = RequireUnqualified(call.function)) return tl::unexpected(*qualified);
  if (!checked.runtime.empty()) {
    if (auto refused = CheckRuntime(checked.runtime)) return tl::unexpected(*refused);
  }
  const auto updated = registry_.UpdateConfig(
      call.function.name, [&](registry::FunctionConfig& config) { ReadConfig(input, options_.max_memory_mib, config); },
      revision);
  if (!updated) return tl::unexpected(Refusal(updated.error(), call.function));
  deployments_.Start(call.function.name, registry::kLatest);
  return LambdaAnswer(200, Describe(*updated, ""));
}

LambdaApi::Outcome LambdaApi::DeleteFunction(LambdaCall& call) {
  const auto& [name, qualifier] = call.function;
  if (!qualifier.empty() && qualifier != registry::kLatest && !IsVersionNumber(qualifier)) {
    return tl::unexpected(InvalidParameterValue("Deletion of aliases is not currently supported."));
  }
  const auto gone = qualifier.empty() ? registry_.DeleteFunction(name) : registry_.DeleteVersion(name, qualifier);
  if (!gone) return tl::unexpected(Refusal(gone.error(), call.function));
  deployments_.Removed(name, *gone);
  SweepCodes();
  return NoContent();
}

}  // namespace snapfaas::gateway
