// The whole node: snapfaasd with real microVMs, asked over HTTP.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "e2e_environment.h"
#include "node_under_test.h"

namespace snapfaas::e2e {
namespace {

using nlohmann::json;
using std::chrono::milliseconds;
using std::chrono::steady_clock;
using testing::HasSubstr;

// How large a test is made by its environment variable; by default as small as shows the point.
int SizeFrom(const char* variable, int usual) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::atoi(text) : usual;
}

template <typename Condition>
bool Within(milliseconds patience, const Condition& holds) {
  const auto deadline = steady_clock::now() + patience;
  while (!holds()) {
    if (steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(milliseconds(50));
  }
  return true;
}

// What they are open for.
std::vector<std::string> Descriptors(pid_t pid) {
  std::vector<std::string> targets;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator(fmt::format("/proc/{}/fd", pid), ignored)) {
    targets.push_back(std::filesystem::read_symlink(entry.path(), ignored).string());
  }
  std::sort(targets.begin(), targets.end());
  return targets;
}

class NodeTest : public EndToEndTest {
 protected:
  void TearDown() override {
    node_.reset();
    EXPECT_TRUE(Within(milliseconds(10'000), [] { return NodeUnderTest::Vmms().empty(); })) << "a VMM is left";
    EndToEndTest::TearDown();
  }

  NodeUnderTest& StartNode(const std::string& config = "") {
    node_ = std::make_unique<NodeUnderTest>(config);
    node_->Start();
    return *node_;
  }

  // So that what is lost is known to be the harm's doing.
  void ExpectToServe(const std::string& function) {
    const auto answer = node_->Invoke(function, {{"n", 7}});
    EXPECT_TRUE(answer.IsResult()) << answer.status << answer.body;
    EXPECT_EQ(answer.body["echo"], 7);
  }

  std::unique_ptr<NodeUnderTest> node_;
};

TEST_F(NodeTest, FunctionIsDeployedInvokedChangedAndRemoved) {
  auto& node = StartNode();
  node.Deploy("f", "hostile", {"--timeout", "20"});
  const auto cold = node.Invoke("f", {{"n", 1}});
  EXPECT_TRUE(cold.IsResult()) << cold.body;
  EXPECT_EQ(cold.body["echo"], 1);
  EXPECT_EQ(cold.body["version"], "$LATEST");
  EXPECT_EQ(cold.start, "restored");
  const auto warm = node.Invoke("f", {{"n", 2}});
  EXPECT_EQ(warm.body["echo"], 2);
  EXPECT_EQ(warm.start, "idle");

  ASSERT_TRUE(node.Call("POST", cli::FunctionPath("f", "/versions")));
  node.Deploy("f", "hostile", {"--memory", "256"});
  EXPECT_EQ(node.Invoke("f", {{"n", 3}}).start, "restored");
  EXPECT_TRUE(Within(milliseconds(60'000), [&] { return node.Invoke("f:1", {{"n", 4}}).IsResult(); }));
  EXPECT_EQ(node.Invoke("f:1", {{"n", 4}}).body["version"], "1");

  ASSERT_TRUE(node.Call("DELETE", cli::FunctionPath("f")));
  const auto gone = node.Invoke("f", json::object());
  EXPECT_EQ(gone.status, 404) << gone.body;
  EXPECT_TRUE(Within(milliseconds(20'000), [&] { return node.Get("/v1/vms")["vms"].empty(); }));
  EXPECT_EQ(node.Stop(), 0);
}

TEST_F(NodeTest, EverythingIsThereAfterARestart) {
  auto& node = StartNode();
  node.Deploy("f", "hostile");
  ASSERT_TRUE(node.Invoke("f", {{"n", 1}}).IsResult());
  EXPECT_EQ(node.Stop(), 0);
  node.Start();
  ExpectToServe("f");
}

TEST_F(NodeTest, ResetMicroVmsForgetTheirRequests) {
  auto& node = StartNode();
  node.Deploy("counter", "counter", {"--isolation", "reset"});
  for (int i = 0; i < 3; ++i) {
    const auto answer = node.Invoke("counter", {{"id", i}});
    ASSERT_TRUE(answer.IsResult()) << answer.body;
    EXPECT_EQ(answer.body["calls"], 1);
  }
}

TEST_F(NodeTest, LogHasLambdasLines) {
  auto& node = StartNode();
  node.Deploy("f", "hostile");
  ASSERT_TRUE(node.Invoke("f", {{"n", 1}}).IsResult());
  const std::string log = node.Get("/v1/functions/f/log")["text"];
  EXPECT_THAT(log, HasSubstr("START RequestId: "));
  EXPECT_THAT(log, HasSubstr(" Version: $LATEST"));
  EXPECT_THAT(log, HasSubstr("REPORT RequestId: "));
  EXPECT_THAT(log, HasSubstr("Memory Size: 128 MB"));
}

struct Harm {
  const char* name;
  const char* answer;  // a part of it; empty: whichever end the function comes to
  int timeout_seconds;
};

// Whatever a function does, it is told in Lambda's words, its microVM is gone, and others do not notice.
class HostileTest : public NodeTest, public ::testing::WithParamInterface<Harm> {};

TEST_P(HostileTest, HurtsItselfOnly) {
  const Harm& harm = GetParam();
  auto& node = StartNode();
  node.Deploy("hostile", "hostile", {"--timeout", std::to_string(harm.timeout_seconds)});
  node.Deploy("good", "hostile");
  ExpectToServe("good");
  std::atomic<bool> done = false;
  std::thread neighbour([&] {
    while (!done) ExpectToServe("good");
  });
  const auto answer = node.Invoke("hostile", {{"harm", harm.name}, {"n", 1}});
  done = true;
  neighbour.join();
  EXPECT_EQ(answer.status, 200);
  EXPECT_THAT(answer.body.dump(), HasSubstr(harm.answer));
  ExpectToServe("hostile");
  ExpectToServe("good");
}

INSTANTIATE_TEST_SUITE_P(Harms, HostileTest,
                         ::testing::Values(Harm{"loop", "Sandbox.Timedout", 5}, Harm{"sleep", "Sandbox.Timedout", 5},
                                           Harm{"fork", "", 5}, Harm{"memory", "", 10}, Harm{"disk", "", 10},
                                           Harm{"print", "", 10}, Harm{"close", "", 5},
                                           Harm{"exit", "Runtime.ExitError", 5}),
                         [](const auto& harm) { return std::string(harm.param.name); });

TEST_F(NodeTest, KilledVmmsLoseOnlyTheirRequests) {
  auto& node = StartNode("[microvms]\nshells = 0\nshells_in_all = 0\n");
  node.Deploy("f", "hostile", {"--timeout", "30"});
  const int requests = SizeFrom("SNAPFAAS_E2E_KILLED_REQUESTS", 60);
  std::atomic<bool> done = false;
  std::atomic<int> killed = 0;
  std::thread killer([&] {
    std::mt19937 random(1);
    while (!done) {
      std::this_thread::sleep_for(milliseconds(random() % 400));
      const auto vmms = NodeUnderTest::Vmms();
      if (vmms.empty()) continue;
      ::kill(vmms[random() % vmms.size()], SIGKILL);
      ++killed;
    }
  });
  std::mutex mutex;
  std::map<std::string, int> answers;
  std::vector<std::thread> clients;
  clients.reserve(4);
  for (int client = 0; client < 4; ++client) {
    clients.emplace_back([&] {
      for (int i = 0; i < requests / 4; ++i) {
        const auto answer = node.Invoke("f", {{"n", i}});
        const std::string kind = answer.IsResult()      ? (answer.body["echo"] == i ? "right" : "wrong")
                                 : answer.status == 200 ? answer.body.value("errorType", "?")
                                                        : std::to_string(answer.status);
        const std::lock_guard lock(mutex);
        ++answers[kind];
      }
    });
  }
  for (auto& client : clients) client.join();
  done = true;
  killer.join();
  EXPECT_GT(killed, 0);
  EXPECT_GT(answers["right"], 0);
  // A microVM that is killed while it starts is had anew once; twice is the node's failure, not the function's.
  for (const auto& [kind, count] : answers) {
    EXPECT_TRUE(kind == "right" || kind == "Runtime.ExitError" || kind == "500" || kind == "503") << kind << count;
  }
  // Also where the one that waits was killed: its request was not in it yet.
  for (const pid_t idle : NodeUnderTest::Vmms()) ::kill(idle, SIGKILL);
  EXPECT_TRUE(Within(milliseconds(10'000), [] { return NodeUnderTest::Vmms().empty(); }));
  ExpectToServe("f");
}

TEST_F(NodeTest, ManyClientsAreAnsweredOrToldToWait) {
  constexpr int kFunctions = 10;
  constexpr int kVms = 12;
  const int clients = SizeFrom("SNAPFAAS_E2E_CLIENTS", 40);
  const int requests = SizeFrom("SNAPFAAS_E2E_REQUESTS", 5);
  auto& node =
      StartNode(fmt::format("[memory]\nbudget_mib = {}\noverhead_mib = 8\n"
                            "[microvms]\nshells = 0\nshells_in_all = 0\nidle_seconds = 3\n"
                            "[requests]\nqueue_seconds = 600\n",
                            kVms * (128 + 8)));
  for (int i = 0; i < kFunctions; ++i) node.Deploy(fmt::format("f{}", i), "hostile", {"--timeout", "60"});
  // So that what is opened at a function's first request, or a moment after its deployment, is open already.
  for (int i = 0; i < kFunctions; ++i) EXPECT_TRUE(node.Invoke(fmt::format("f{}", i), {{"n", i}}).IsResult());
  EXPECT_TRUE(Within(milliseconds(60'000), [&] { return NodeUnderTest::Vmms().empty(); }));
  const auto descriptors_before = Descriptors(node.pid());

  std::atomic<int> right = 0;
  std::atomic<int> throttled = 0;
  std::mutex mutex;
  std::vector<std::string> wrong;
  std::atomic<bool> done = false;
  size_t most_vmms = 0;
  uint64_t most_mib = 0;
  std::thread sampler([&] {
    while (!done) {
      most_vmms = std::max(most_vmms, NodeUnderTest::Vmms().size());
      most_mib = std::max(most_mib, node.Get("/v1/node")["memory_reserved_mib"].get<uint64_t>());
      std::this_thread::sleep_for(milliseconds(200));
    }
  });
  std::vector<std::thread> threads;
  threads.reserve(static_cast<size_t>(clients));
  for (int client = 0; client < clients; ++client) {
    threads.emplace_back([&, client] {
      for (int i = 0; i < requests; ++i) {
        const int number = client * requests + i;
        const auto answer =
            node.Invoke(fmt::format("f{}", number % kFunctions), {{"n", number}}, "RequestResponse", 900);
        if (answer.IsResult() && answer.body["echo"] == number) {
          ++right;
        } else if (answer.status == 429) {
          ++throttled;
        } else {
          const std::lock_guard lock(mutex);
          wrong.push_back(fmt::format("{} {}", answer.status, answer.body.dump()));
        }
      }
    });
  }
  for (auto& thread : threads) thread.join();
  done = true;
  sampler.join();
  EXPECT_EQ(wrong, std::vector<std::string>());
  EXPECT_EQ(right + throttled, clients * requests);
  EXPECT_LE(most_vmms, static_cast<size_t>(kVms));
  EXPECT_LE(most_mib, static_cast<uint64_t>(kVms * (128 + 8)));
  const json info = node.Get("/v1/node");
  fmt::print("answered {}, throttled {}, at most {} VMMs, {} MiB; {}\n", right.load(), throttled.load(), most_vmms,
             most_mib, info["counts"].dump());
  if (clients > kVms) {
    EXPECT_GT(info["counts"]["evictions"], 0);
  }
  EXPECT_TRUE(Within(milliseconds(60'000), [&] { return NodeUnderTest::Vmms().empty(); }));
  EXPECT_TRUE(Within(milliseconds(20'000), [&] { return Descriptors(node.pid()).size() <= descriptors_before.size(); }))
      << fmt::format("before: {}\nafter: {}", fmt::join(descriptors_before, " "),
                     fmt::join(Descriptors(node.pid()), " "));
}

TEST_F(NodeTest, KillLosesNothingThatWasAcknowledged) {
  const int rounds = SizeFrom("SNAPFAAS_E2E_KILLS", 4);
  auto& node = StartNode("[events]\nretry_seconds = 1\n");
  node.Deploy("base", "hostile");
  std::mt19937 random(static_cast<unsigned>(SizeFrom("SNAPFAAS_E2E_SEED", 1)));
  std::set<std::string> acknowledged = {"base"};
  int events = 0;
  for (int round = 0; round < rounds; ++round) {
    std::atomic<bool> stop = false;
    std::mutex mutex;
    // Deploys, sends events and invokes until the node is gone.
    std::thread deployer([&] {
      for (int i = 0; !stop; ++i) {
        const std::string name = fmt::format("d{}-{}", round, i);
        const auto created = node.Call("POST", "/2015-03-31/functions/", DeploymentOf(name, "hostile"));
        if (!created) continue;
        const std::lock_guard lock(mutex);
        acknowledged.insert(name);
      }
    });
    std::thread sender([&] {
      while (!stop) {
        if (node.Invoke("base", {{"n", 1}}, "Event").status != 202) continue;
        const std::lock_guard lock(mutex);
        ++events;
      }
    });
    std::thread invoker([&] {
      while (!stop) node.Invoke("base", {{"n", 1}});
    });
    std::this_thread::sleep_for(milliseconds(200 + random() % 4000));
    node.Kill();
    stop = true;
    deployer.join();
    sender.join();
    invoker.join();
    EXPECT_TRUE(Within(milliseconds(10'000), [] { return NodeUnderTest::Vmms().empty(); }))
        << "a VMM outlives its node";
    node.Start();
    if (HasFatalFailure()) return;
  }
  std::set<std::string> there;
  std::string marker;
  do {
    const json page = node.Get("/2015-03-31/functions/?MaxItems=50" + (marker.empty() ? "" : "&Marker=" + marker));
    for (const auto& function : page["Functions"]) there.insert(function["FunctionName"].get<std::string>());
    marker = page.value("NextMarker", "");
  } while (!marker.empty());
  for (const std::string& name : acknowledged) EXPECT_TRUE(there.contains(name)) << name;
  // What was being deployed goes on, and all events come through.
  for (const std::string& name : there) {
    EXPECT_TRUE(Within(milliseconds(300'000), [&] {
      return node.Get(cli::FunctionPath(name, "/configuration"))["State"] == "Active";
    })) << name;
  }
  EXPECT_TRUE(Within(milliseconds(300'000), [&] { return node.Get("/v1/node")["events_waiting"] == 0; }));
  fmt::print("{} kills: {} functions and {} events acknowledged\n", rounds, acknowledged.size(), events);
  EXPECT_GT(events, 0);
  ExpectToServe("base");
  for (const auto& snapshot : node.Get("/v1/snapshots")["snapshots"]) {
    EXPECT_TRUE(snapshot["is_usable"].get<bool>()) << snapshot;
  }
  // An image for each function that has one, and nothing half-made.
  EXPECT_TRUE(std::filesystem::is_empty(node.state_dir() / "tmp"));
}

}  // namespace
}  // namespace snapfaas::e2e
