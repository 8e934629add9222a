#include "node/node.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <fstream>
#include <future>
#include <system_error>
#include <thread>
#include <utility>

#include "base/clock.h"
#include "base/json.h"
#include "base/units.h"
#include "images/runtimefs.h"
#include "registry/runtimes.h"

namespace snapfaas::node {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kMillisPerSecond = 1'000;
constexpr int64_t kMillisPerHour = 3'600'000;
constexpr int64_t kSpareLeadNs = 500'000'000;
constexpr std::chrono::milliseconds kReservePause{100};

double SecondsSince(int64_t then_ns, int64_t now_ns) {
  return static_cast<double>(now_ns - then_ns) / static_cast<double>(kSecond);
}

Result<UniqueFd> LockFolder(const fs::path& folder) {
  std::error_code failure;
  fs::create_directories(folder, failure);
  if (failure) return FailErrno(failure.value(), "making the folder {}", folder.string());
  UniqueFd lock(::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!lock.valid()) return FailErrno(errno, "opening {}", (folder / "lock").string());
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) == 0) return lock;
  if (errno != EWOULDBLOCK) return FailErrno(errno, "locking {}", folder.string());
  return Fail(ErrorCode::kUnavailable, "another node works with {}: `snapfaas status` tells, `snapfaas down` ends it",
              folder.string());
}

faas::Controller::Options ControllerOptions(const NodeConfig& config) {
  faas::Controller::Options options;
  options.budget_mib = config.budget_mib != 0 ? config.budget_mib : SpareMemoryMib();
  options.overhead_mib = static_cast<uint32_t>(config.overhead_mib);
  options.idle_ttl_ns = static_cast<int64_t>(config.idle_seconds) * kSecond;
  options.max_launches = config.LaunchesAtATime(std::thread::hardware_concurrency());
  if (config.spares) options.spare_lead_ns = kSpareLeadNs;
  return options;
}

faas::RequestManager::Options RequestOptions(const NodeConfig& config) {
  faas::RequestManager::Options options;
  options.max_queue = config.queue_per_function;
  options.max_queue_total = config.queue_in_all;
  options.max_wait_ns = static_cast<int64_t>(config.queue_seconds) * kSecond;
  return options;
}

EventDispatcher::Options EventOptions(const NodeConfig& config, const ArnParts& arn) {
  EventDispatcher::Options options;
  options.at_a_time = config.events_at_a_time;
  options.max_retries = static_cast<uint32_t>(config.event_retries);
  options.first_retry_ms = static_cast<int64_t>(config.event_retry_seconds) * kMillisPerSecond;
  options.max_age_ms = static_cast<int64_t>(config.event_hours) * kMillisPerHour;
  options.arn = arn;
  return options;
}

std::string_view EventName(faas::Controller::VmEventKind kind) {
  switch (kind) {
    case faas::Controller::VmEventKind::kLaunching:
      return "vm-started";
    case faas::Controller::VmEventKind::kEvicted:
      return "evicted";
    case faas::Controller::VmEventKind::kExpired:
      return "expired";
    case faas::Controller::VmEventKind::kGone:
      return "vm-ended";
  }
  return "vm";
}

registry::Runtimes RuntimesOf(const fs::path& share_dir) {
  std::vector<registry::Runtime> runtimes;
  for (auto& recipe : images::ListRecipes(share_dir)) {
    runtimes.push_back({std::move(recipe.name), std::move(recipe.lambda_runtimes), recipe.min_memory_mib});
  }
  return registry::Runtimes(std::move(runtimes));
}

}  // namespace

uint64_t SpareMemoryMib() {
  std::ifstream meminfo("/proc/meminfo");
  std::string name;
  std::string unit;
  uint64_t kib = 0;
  while (meminfo >> name >> kib) {
    std::getline(meminfo, unit);
    // The rest is for snapshots, the page cache and everybody else.
    if (name == "MemAvailable:") return kib / 1024 / 4 * 3;
  }
  return 0;
}

Node::Node(Paths paths, NodeConfig config, LogLine log)
    : paths_(std::move(paths)), config_(std::move(config)), log_(std::move(log)), started_ns_(MonotonicNanos()) {}

Node::~Node() {
  if (!draining_ && requests_) Drain(MonotonicNanos());
  if (deployments_) deployments_->Stop();
  if (dispatcher_) dispatcher_->Stop();
  if (invoker_) invoker_->Stop();
  if (host_) host_->Stop();
  if (timekeeper_) timekeeper_->Stop();
}

Result<std::unique_ptr<Node>> Node::Open(const Paths& paths, const NodeConfig& config, LogLine log,
                                         FunctionInvoker::Observe observe) {
  std::unique_ptr<Node> node(new Node(paths, config, std::move(log)));
  auto stores = node->OpenStores();
  if (!stores) return Forward(stores.error());
  auto parts = node->StartParts(std::move(observe));
  if (!parts) return Forward(parts.error());
  node->WaitUntilServed();
  return node;
}

Status Node::OpenStores() {
  const fs::path& folder = paths_.state_dir;
  auto lock = LockFolder(folder);
  if (!lock) return Forward(lock.error());
  lock_ = std::move(*lock);
  auto registry = registry::Registry::Open(folder / "registry.db");
  if (!registry) return Forward(registry.error());
  registry_ = std::move(*registry);
  auto code = registry::CodeStore::Open(files_, folder / "code", *registry_);
  if (!code) return Forward(code.error());
  code_ = std::move(*code);
  auto deployer = Deployer::Open(folder);
  if (!deployer) return Forward(deployer.error());
  deployer_.emplace(std::move(*deployer));
  return {};
}

Status Node::StartParts(FunctionInvoker::Observe observe) {
  const ArnParts arn{config_.region, config_.account};
  MicroVmHost::Options host_options;
  host_options.data_dir = paths_.data_dir;
  host_options.log_dir = paths_.state_dir / "logs";
  host_options.vmm = paths_.vmm;
  host_options.pool = {config_.shells, config_.shells_in_all};
  host_options.snapshot_limit_bytes = config_.snapshot_disk_mib * 1_MiB;
  host_options.log.max_file_bytes = config_.log_mib * 1_MiB;
  host_options.notice = log_;
  auto host = MicroVmHost::Create(std::move(host_options));
  if (!host) return Forward(host.error());
  host_ = std::move(*host);
  timekeeper_ = std::make_unique<faas::ThreadTimekeeper>();
  controller_ = std::make_unique<faas::Controller>(*timekeeper_, *host_, ControllerOptions(config_),
                                                   [this](const auto& event) { OnVmEvent(event); });
  requests_ = std::make_unique<faas::RequestManager>(*timekeeper_, *controller_, RequestOptions(config_));
  const auto vcpus = static_cast<uint32_t>(config_.vcpus);
  runtimes_ = RuntimesOf(paths_.share_dir);
  invoker_ = std::make_unique<FunctionInvoker>(*registry_, *requests_, hub_, std::move(observe),
                                               FunctionInvoker::Options{vcpus, arn, runtimes_});
  dispatcher_ = std::make_unique<EventDispatcher>(*registry_, *invoker_, EventOptions(config_, arn), log_);
  deployments_ = std::make_unique<DeploymentService>(
      DeploymentService::Parts{*registry_, *code_, *deployer_, *host_, hub_,
                               [this](const std::string& name) { return images::OpenRuntime(paths_.data_dir, name); },
                               [this](const std::string& key) { requests_->RetireKey(key); },
                               [this](const faas::VmSize& size) { return ReserveForWork(size); }, log_},
      DeploymentService::Options{vcpus, arn, config_.function_snapshots, runtimes_});
  return {};
}

void Node::WaitUntilServed() {
  std::promise<void> served;
  deployments_->Recover([&served] { served.set_value(); });
  served.get_future().wait();
}

void Node::Drain(int64_t deadline_ns) {
  if (draining_.exchange(true)) return;
  dispatcher_->Pause();
  std::promise<void> drained;
  requests_->Drain(deadline_ns, [&drained] { drained.set_value(); });
  drained.get_future().wait();
}

std::shared_ptr<void> Node::ReserveForWork(const faas::VmSize& size) {
  using Reservation = faas::MemoryBudget::Reservation;
  while (!draining_) {
    // Shared, as what is posted has to be copyable.
    std::shared_ptr<Reservation> reservation;
    OnThread([&] {
      if (auto made = controller_->ReserveForWork(size)) reservation = std::make_shared<Reservation>(std::move(*made));
    });
    if (reservation) {
      return {reservation.get(), [this, reservation](void*) {
                timekeeper_->Post([this, reservation] { controller_->EndWork(std::move(*reservation)); });
              }};
    }
    std::this_thread::sleep_for(kReservePause);
  }
  return nullptr;
}

void Node::OnVmEvent(const faas::Controller::VmEvent& event) {
  hub_.Publish(EventName(event.kind), [&event] {
    return nlohmann::json{{"vm", event.vm}, {"function", event.spec.function}, {"version", event.spec.version}};
  });
}

void Node::OnThread(const std::function<void()>& function) {
  std::promise<void> done;
  timekeeper_->Post([&] {
    function();
    done.set_value();
  });
  done.get_future().wait();
}

NodeInfo Node::Info() {
  NodeInfo info;
  info.state = draining_ ? "draining" : "running";
  info.uptime_seconds = SecondsSince(started_ns_, MonotonicNanos());
  OnThread([&] {
    const auto& vms = controller_->counts();
    const auto requests = requests_->counts();
    info.memory_budget_mib = controller_->budget().total();
    info.memory_reserved_mib = controller_->budget().reserved();
    info.vms_busy = controller_->CountVms(faas::VmState::kBusy) + controller_->CountVms(faas::VmState::kResetting);
    info.vms_idle = controller_->CountVms(faas::VmState::kIdle);
    info.vms_starting = controller_->CountVms(faas::VmState::kStarting);
    info.requests_queued = requests.queued;
    info.requests_running = requests.running;
    info.counts.invocations = requests.answered;
    info.counts.timeouts = requests.timed_out;
    info.counts.throttles =
        requests.throttled_reserved_concurrency + requests.throttled_queue_full + requests.throttled_queue_timeout;
    info.counts.launches = vms.launches;
    info.counts.launch_failures = vms.launch_failures;
    info.counts.evictions = vms.evictions;
    info.counts.expirations = vms.expirations;
    info.counts.idle_hits = vms.idle_hits;
  });
  const auto shells = host_->shell_counts();
  info.counts.shells_started = shells.started;
  info.counts.shells_starting_ms = static_cast<uint64_t>(shells.starting_ns / kMilli);
  info.counts.shells_missing = shells.missing;
  info.events_waiting = registry_->CountEvents().value_or(0);
  return info;
}

std::vector<VmInfo> Node::Vms() {
  std::vector<VmInfo> vms;
  OnThread([&] {
    const int64_t now = timekeeper_->NowNanos();
    for (const auto& known : controller_->List()) {
      VmInfo vm;
      vm.id = known.id;
      vm.function = known.function;
      vm.version = known.version;
      vm.state = faas::VmStateName(known.state);
      vm.memory_mib = known.size.memory_mib;
      vm.vcpus = known.size.vcpus;
      vm.age_seconds = SecondsSince(known.launched_ns, now);
      vm.state_seconds = SecondsSince(known.since_ns, now);
      vm.requests = known.requests;
      vms.push_back(std::move(vm));
    }
  });
  for (VmInfo& vm : vms) vm.pid = host_->pid(vm.id);
  return vms;
}

Result<std::vector<SnapshotInfo>> Node::Snapshots() { return host_->Snapshots(); }

Result<std::vector<RuntimeInfo>> Node::Runtimes() {
  auto listed = images::ListRuntimes(paths_.data_dir);
  if (!listed) return Forward(listed.error());
  std::vector<RuntimeInfo> runtimes;
  for (const auto& runtime : *listed) {
    const registry::Runtime* known = runtimes_.Find(runtime.name);
    runtimes.push_back({runtime.name, runtime.version, runtime.kernel_release,
                        known == nullptr ? std::vector<std::string>() : known->lambda_names});
  }
  return runtimes;
}

Result<NodeView::LogPiece> Node::ReadLog(const std::string& function, std::optional<uint64_t> from,
                                         uint64_t max_bytes) {
  auto known = registry_->GetFunction(function, "");
  if (!known) return Forward(known.error());
  return host_->ReadLog(function, from, max_bytes);
}

std::shared_ptr<void> Node::Subscribe(EventSink sink) { return hub_.Subscribe(std::move(sink)); }

}  // namespace snapfaas::node
