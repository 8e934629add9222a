#include "layers.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdlib>
#include <utility>

#include "base/clock.h"
#include "cli/runtime_access.h"
#include "faas/runtime_files.h"

namespace snapfaas::e2e {
namespace {

constexpr double kTimeoutSeconds = 60;

}  // namespace

std::string Describe(const Way& way) {
  return fmt::format("{} {}", way.layer == Way::Layer::kBase ? "base" : "function", way.choice);
}

std::ostream& operator<<(std::ostream& out, const Way& way) { return out << Describe(way); }

std::vector<Way> WaysOf(const std::vector<std::string_view>& choices) {
  std::vector<Way> ways;
  for (const auto choice : choices) {
    ways.push_back({Way::Layer::kBase, choice});
    ways.push_back({Way::Layer::kFunction, choice});
  }
  return ways;
}

Layers::Layers(const std::string& function, const faas::VmSize& size, snapshot::LoadedSnapshot base)
    : environment_(Environment::Get()), function_(function), size_(size), base_(std::move(base)) {}

Result<std::unique_ptr<Layers>> Layers::Take(const std::string& function, const faas::VmSize& size) {
  auto& environment = Environment::Get();
  auto base = cli::LoadSnapshot(environment.context(), environment.spawner(), environment.runtime().files, size,
                                faas::Tier::kMemory, cli::kBootTimeoutSeconds);
  if (!base) return Forward(base.error());
  std::unique_ptr<Layers> layers(new Layers(function, size, std::move(*base)));
  auto taken = layers->TakeFunctionSnapshot();
  if (!taken) return Forward(taken.error());
  auto pool = faas::ShellPool::Create(environment.spawner(), {.shells_per_kind = 1, .max_shells = 1},
                                      [made = layers.get()](const faas::ShellKind& /*kind*/) {
                                        return faas::OpenPrimeImages(made->environment_.runtimefs(), made->base_);
                                      });
  if (!pool) return Forward(pool.error());
  layers->pool_ = std::move(*pool);
  return layers;
}

Status Layers::TakeFunctionSnapshot() {
  cli::Context context = environment_.context();
  context.data_dir = folder_.path();
  const UniqueFd appfs = environment_.Appfs(function_);
  auto loaded =
      cli::LoadFunctionSnapshot(context, environment_.spawner(), environment_.runtime().files, environment_.runtimefs(),
                                base_, appfs.get(), cli::Layer::kFunction, faas::Tier::kMemory);
  if (!loaded) return Forward(loaded.error());
  function_snapshot_ = std::move(*loaded);
  return {};
}

Status Layers::RecordWorkingSets(const std::string& event) {
  auto recorded = RecordWorkingSet(Way::Layer::kBase, event);
  if (!recorded) return recorded;
  return RecordWorkingSet(Way::Layer::kFunction, event);
}

Status Layers::RecordWorkingSet(Way::Layer layer, const std::string& event) {
  auto vm = Restore({layer, "mmap"});
  if (!vm) return Forward(vm.error());
  auto answer = vm->Invoke({event, ""}, cli::DeadlineIn(kTimeoutSeconds));
  if (!answer) return Forward(answer.error());
  auto set = vm->RecordWorkingSet(cli::DeadlineIn(kTimeoutSeconds));
  if (!set) return Forward(set.error());
  return Of(layer).UseWorkingSet(*set);
}

Result<faas::Shell> Layers::StartShell(const Way& way, int64_t deadline_ns) {
  if (cli::RestoreChoiceOf(way.choice).shells != cli::Shells::kPrimed) {
    return faas::Shell::Start(environment_.spawner(), size_, deadline_ns);
  }
  const faas::ShellKind kind(size_, base_.base_id());
  auto reserved = pool_->Reserve(kind, 1);
  if (!reserved) return Forward(reserved.error());
  // One that is started for its taker is not primed.
  auto full = pool_->WaitFull(kind, deadline_ns);
  if (!full) return Forward(full.error());
  auto taken = pool_->Take(kind, deadline_ns);
  if (!taken) return Forward(taken.error());
  return std::move(taken->shell);
}

Result<faas::MicroVm> Layers::Start(const Way& way, faas::RestoreImages& images, faas::FunctionFiles& files,
                                    int64_t deadline_ns) {
  auto opened = faas::OpenRestoreImages(environment_.runtimefs(), Of(way.layer), cli::RestoreChoiceOf(way.choice).mode);
  if (!opened) return Forward(opened.error());
  images = std::move(*opened);
  files.appfs = environment_.Appfs(function_);
  auto shell = StartShell(way, deadline_ns);
  if (!shell) return Forward(shell.error());
  return faas::MicroVm::Create(std::move(*shell), MonotonicNanos());
}

Result<faas::MicroVm> Layers::Restore(const Way& way) {
  const int64_t deadline = cli::DeadlineIn(kTimeoutSeconds);
  faas::RestoreImages images;
  faas::FunctionFiles files;
  auto vm = Start(way, images, files, deadline);
  if (!vm) return vm;
  auto restored = vm->Restore(std::move(images), std::move(files), deadline);
  if (!restored) return Forward(restored.error());
  return vm;
}

Result<faas::Response> Layers::RestoreAndInvoke(const Way& way, const std::string& event) {
  const int64_t deadline = cli::DeadlineIn(kTimeoutSeconds);
  faas::RestoreImages images;
  faas::FunctionFiles files;
  auto vm = Start(way, images, files, deadline);
  if (!vm) return Forward(vm.error());
  return vm->RestoreAndInvoke(std::move(images), std::move(files), {event, ""}, deadline);
}

Status Layers::EmptyPool() {
  const faas::ShellKind kind(size_, base_.base_id());
  auto reserved = pool_->Reserve(kind, 0);
  if (!reserved) return reserved;
  return pool_->WaitFull(kind, cli::DeadlineIn(kTimeoutSeconds));
}

int CountFrom(const char* variable, int otherwise) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return otherwise;
  const std::string_view digits(text);
  int count = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), count);
  const bool right = error == std::errc() && end == digits.data() + digits.size() && count > 0;
  EXPECT_TRUE(right) << variable << " is no number above 0: " << digits;
  return right ? count : otherwise;
}

}  // namespace snapfaas::e2e
