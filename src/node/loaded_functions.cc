#include "node/loaded_functions.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <shared_mutex>
#include <utility>

namespace snapfaas::node {

struct LoadedFunctions::Runtime {
  OpenedRuntime opened;
  snapshot::InMemoryImage runtimefs;
};

// A snapshot in memory.
struct LoadedFunctions::Loaded {
  explicit Loaded(snapshot::LoadedSnapshot of_snapshot) : snapshot(std::move(of_snapshot)) {}

  // Shared by those who restore from it, however long they take; what changes its plan waits for them.
  std::shared_mutex mutex;
  snapshot::LoadedSnapshot snapshot;
  std::atomic<bool> is_claimed = false;
};

struct LoadedFunctions::Base {
  Base(std::shared_ptr<Runtime> of_runtime, snapshot::LoadedSnapshot snapshot, faas::ShellKind of_kind)
      : runtime(std::move(of_runtime)), loaded(std::move(snapshot)), kind(std::move(of_kind)) {}

  std::shared_ptr<Runtime> runtime;
  Loaded loaded;
  const faas::ShellKind kind;
  // One function teaches what all of its runtime need; more would have every shell hold what few of them use.
  std::atomic<bool> has_learnt = false;
};

struct LoadedFunctions::Function {
  PreparedFunction what;
  UniqueFd image;
  std::string image_name;
  std::shared_ptr<Base> base;
  std::shared_ptr<Loaded> layer;  // absent: the base is what there is
};

class LoadedFunctions::Claim : public WorkingSetClaim {
 public:
  Claim(const LoadedFunctions& store, std::shared_ptr<Base> base, std::shared_ptr<Loaded> layer)
      : store_(store), base_(std::move(base)), layer_(std::move(layer)) {}
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() override { top().is_claimed = false; }

  void Keep(const snapshot::WorkingSet& set) override {
    auto kept = SaveWorkingSet(store_.home_, set, top().snapshot.manifest());
    if (kept) {
      const std::lock_guard lock(top().mutex);
      kept = top().snapshot.UseWorkingSet(set);
    }
    if (kept && layer_) LearnFrom(*base_, *layer_);
    if (!kept && store_.home_.notice) {
      store_.home_.notice(fmt::format("the working set of a snapshot is not kept: {}", kept.error().Message()));
    }
  }

 private:
  Loaded& top() { return layer_ ? *layer_ : base_->loaded; }

  const LoadedFunctions& store_;
  const std::shared_ptr<Base> base_;
  const std::shared_ptr<Loaded> layer_;
};

LoadedFunctions::LoadedFunctions(SnapshotHome home, faas::Spawner& spawner, wire::RestoreMode mode)
    : home_(std::move(home)), spawner_(spawner), mode_(mode) {}

LoadedFunctions::~LoadedFunctions() = default;

Result<std::shared_ptr<LoadedFunctions::Runtime>> LoadedFunctions::UseRuntime(const std::string& name) {
  {
    const std::lock_guard lock(mutex_);
    if (auto runtime = runtimes_[name].lock()) return runtime;
  }
  auto opened = OpenRuntime(home_.data_dir, name);
  if (!opened) return Forward(opened.error());
  auto runtimefs = faas::LoadRuntimefs(opened->files);
  if (!runtimefs) return Forward(runtimefs.error());
  auto runtime = std::make_shared<Runtime>(Runtime{std::move(*opened), std::move(*runtimefs)});
  const std::lock_guard lock(mutex_);
  runtimes_[name] = runtime;
  return runtime;
}

Result<std::shared_ptr<LoadedFunctions::Base>> LoadedFunctions::UseBase(const PreparedFunction& function) {
  const BaseKey key(function.runtime, function.size.memory_mib, function.size.vcpus);
  {
    const std::lock_guard lock(mutex_);
    if (auto base = bases_[key].lock()) return base;
  }
  auto runtime = UseRuntime(function.runtime);
  if (!runtime) return Forward(runtime.error());
  auto snapshot =
      LoadSnapshot(home_, spawner_, (*runtime)->opened.files, function.size, faas::Tier::kMemory, kBootTimeoutSeconds);
  if (!snapshot) return Forward(snapshot.error());
  faas::ShellKind kind(function.size, snapshot->base_id());
  auto base = std::make_shared<Base>(std::move(*runtime), std::move(*snapshot), std::move(kind));
  const std::lock_guard lock(mutex_);
  bases_[key] = base;
  return base;
}

// Nothing when there is none and `layer` does not ask for one to be taken.
Result<std::shared_ptr<LoadedFunctions::Loaded>> LoadedFunctions::UseFunctionSnapshot(const Function& function,
                                                                                      Layer layer) {
  const std::string name = function.base->kind.base + "+" + function.image_name;
  {
    const std::lock_guard lock(mutex_);
    if (auto loaded = layers_[name].lock()) return loaded;
  }
  const Runtime& runtime = *function.base->runtime;
  Loaded& base = function.base->loaded;
  std::shared_ptr<Loaded> loaded;
  {
    const std::shared_lock reading(base.mutex);
    auto snapshot = LoadFunctionSnapshot(home_, spawner_, runtime.opened.files, runtime.runtimefs, base.snapshot,
                                         function.image.get(), layer, faas::Tier::kMemory);
    if (!snapshot) return Forward(snapshot.error());
    if (!snapshot->has_value()) return std::shared_ptr<Loaded>();
    loaded = std::make_shared<Loaded>(std::move(**snapshot));
  }
  if (loaded->snapshot.has_working_set()) LearnFrom(*function.base, *loaded);
  const std::lock_guard lock(mutex_);
  layers_[name] = loaded;
  return loaded;
}

void LoadedFunctions::LearnFrom(Base& base, Loaded& function) {
  if (base.has_learnt.exchange(true)) return;
  const std::scoped_lock lock(base.loaded.mutex, function.mutex);
  // Advice, as the working set is: without it a restore is slower.
  (void)base.loaded.snapshot.LearnFrom(function.snapshot);
}

Status LoadedFunctions::Prepare(const PreparedFunction& what) {
  const std::lock_guard loading(loading_);
  auto function = std::make_shared<Function>();
  function->what = what;
  function->image.Reset(::open(what.image.c_str(), O_RDONLY | O_CLOEXEC));
  if (!function->image.valid()) return FailErrno(errno, "opening the function's image {}", what.image.string());
  auto name = FunctionName(function->image.get());
  if (!name) return Forward(name.error());
  function->image_name = std::move(*name);
  auto base = UseBase(what);
  if (!base) return Forward(base.error());
  function->base = std::move(*base);
  if (what.use_function_snapshot) {
    auto layer = UseFunctionSnapshot(*function, Layer::kAuto);
    // A broken one is taken anew when it is asked for.
    if (layer) function->layer = std::move(*layer);
  }
  const std::lock_guard lock(mutex_);
  functions_[what.key] = std::move(function);
  return {};
}

Status LoadedFunctions::TakeFunctionSnapshot(const std::string& key) {
  const std::lock_guard taking(taking_);
  const auto function = Find(key);
  if (!function) return Fail(ErrorCode::kNotFound, "the function {} is not prepared", key);
  auto layer = UseFunctionSnapshot(*function, Layer::kFunction);
  if (!layer) return Forward(layer.error());
  const std::lock_guard lock(mutex_);
  function->layer = std::move(*layer);
  return {};
}

bool LoadedFunctions::HasFunctionSnapshot(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(key);
  return found != functions_.end() && found->second->layer != nullptr;
}

void LoadedFunctions::GiveUpFunctionSnapshot(const std::string& key, const Error& why) {
  std::shared_ptr<Loaded> gone;  // outlives the lock: freeing memory takes a while
  {
    const std::lock_guard lock(mutex_);
    const auto found = functions_.find(key);
    if (found == functions_.end() || !found->second->layer) return;
    gone = std::move(found->second->layer);
  }
  if (!home_.notice) return;
  home_.notice(fmt::format("a function's snapshot is given up, the base serves instead: {}", why.Message()));
}

void LoadedFunctions::Forget(const std::string& key) {
  std::shared_ptr<Function> gone;  // outlives the lock: freeing memory takes a while
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(key);
  if (found == functions_.end()) return;
  gone = std::move(found->second);
  functions_.erase(found);
  std::erase_if(layers_, [](const auto& layer) { return layer.second.expired(); });
}

std::shared_ptr<LoadedFunctions::Function> LoadedFunctions::Find(const std::string& key) {
  const std::lock_guard lock(mutex_);
  const auto found = functions_.find(key);
  return found == functions_.end() ? nullptr : found->second;
}

Result<Launchable> LoadedFunctions::Open(const std::string& key) {
  const auto function = Find(key);
  if (!function) return Fail(ErrorCode::kNotFound, "the function {} is not prepared", key);
  std::shared_ptr<Loaded> layer;
  {
    const std::lock_guard lock(mutex_);
    layer = function->layer;
  }
  Launchable launchable;
  launchable.appfs.Reset(::fcntl(function->image.get(), F_DUPFD_CLOEXEC, 0));
  if (!launchable.appfs.valid()) return FailErrno(errno, "duplicating the function's image");
  launchable.is_function_snapshot = layer != nullptr;
  Loaded& top = layer ? *layer : function->base->loaded;
  const std::shared_lock reading(top.mutex);
  auto images = faas::OpenRestoreImages(function->base->runtime->runtimefs, top.snapshot, mode_);
  if (!images) return Forward(images.error());
  launchable.images = std::move(*images);
  // What was copied as a whole cannot be told from what was touched.
  if (mode_ != wire::RestoreMode::kCopy && !top.snapshot.has_working_set() && !top.is_claimed.exchange(true)) {
    launchable.working_set = std::make_unique<Claim>(*this, function->base, layer);
  }
  return launchable;
}

std::vector<faas::ShellKind> LoadedFunctions::ShellKinds() {
  std::vector<faas::ShellKind> kinds;
  const std::lock_guard lock(mutex_);
  for (const auto& [key, function] : functions_) {
    const faas::ShellKind& kind = function->base->kind;
    if (std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) kinds.push_back(kind);
  }
  return kinds;
}

Result<wire::PrimeCommand> LoadedFunctions::OpenPrimeImages(const faas::ShellKind& kind) {
  std::shared_ptr<Base> base;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [key, function] : functions_) {
      if (function->base->kind == kind) base = function->base;
    }
  }
  if (!base) return Fail(ErrorCode::kNotFound, "no function needs VMMs primed with {} any more", kind.base);
  const std::shared_lock reading(base->loaded.mutex);
  return faas::OpenPrimeImages(base->runtime->runtimefs, base->loaded.snapshot);
}

}  // namespace snapfaas::node
