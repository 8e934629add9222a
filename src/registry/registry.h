// Registry: functions and everything that clients have set about them, and the queue of asynchronous events, in one
// SQLite database. What a call has returned from outlives a crash of the process and of the machine.
//
// Every function may be called from any thread; all of them block on the disk, and one after the other. Times are
// milliseconds of the Unix epoch; changes of functions take them from the realtime clock, events from the caller.
//
// Errors:
//   kNotFound         no such function, version, alias, configuration
//   kAlreadyExists    the name is taken; of a version to be deleted: an alias refers to it
//   kInvalidArgument  a rule of aliases, versions or policies is broken
//   kUnavailable      a change is under way for this version (Pending or InProgress), which excludes this one
//   kIncompatible     the version, alias or policy has another revision than the caller expects
//   kCorrupt, kResourceExhausted, kSystem    the database
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/result.h"
#include "registry/function.h"

namespace snapfaas::registry {

class Database;

// A part of a list that is ordered by name or number: what comes after `after` (empty: from the start).
struct Page {
  std::string after;
  size_t limit = 50;
};
template <typename T>
struct Listed {
  std::vector<T> items;
  std::string next;  // Page::after of the rest; empty: this was all
};

// Only when the version, alias or policy still has this revision; empty: whatever it has.
using ExpectedRevision = std::string_view;

enum class Publish { kNo, kYes };

class Registry {
 public:
  // Makes the database when there is none. kIncompatible: a newer SnapFaaS has made it. kCorrupt: it is damaged.
  // kUnavailable: another process has it open.
  static Result<std::unique_ptr<Registry>> Open(const std::filesystem::path& file);
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // Changes after every change but those of the queue: what was read at one generation is good until the next. Read it
  // before what it is to guard. Does not block.
  uint64_t generation() const { return generation_.load(std::memory_order_acquire); }

  // --- Functions and versions (registry_functions.cc, registry_versions.cc) ---

  // $LATEST, and with Publish::kYes also version 1; the answer is the latter then. Each is Pending.
  Result<FunctionVersion> CreateFunction(const std::string& name, const FunctionConfig& config, const Code& code,
                                         const std::map<std::string, std::string>& tags, Publish publish);
  // `qualifier`: a version, "$LATEST" or an alias, whose main version is meant; empty: $LATEST.
  Result<FunctionVersion> GetFunction(const std::string& name, const std::string& qualifier);
  Result<Listed<FunctionVersion>> ListFunctions(const Page& page);  // $LATEST of each
  Result<Listed<FunctionVersion>> ListFunctionsAndVersions(const Page& page);
  Result<Listed<FunctionVersion>> ListVersions(const std::string& name, const Page& page);

  // Of $LATEST, which is InProgress then.
  struct CodeUpdate {
    Code code;
    std::optional<std::vector<std::string>> architectures;
    Publish publish = Publish::kNo;  // kYes: the answer is the new version
  };
  Result<FunctionVersion> UpdateCode(const std::string& name, const CodeUpdate& update, ExpectedRevision revision);
  // `change` gets the configuration as it is; it runs under the registry's lock, so it must not call the registry.
  Result<FunctionVersion> UpdateConfig(const std::string& name,
                                       const std::function<void(FunctionConfig& config)>& change,
                                       ExpectedRevision revision);

  // A copy of $LATEST under the next number, Pending; the last version again where neither code nor configuration
  // (its description aside) has changed since: then `is_new` is false.
  struct Published {
    FunctionVersion version;
    bool is_new = false;
  };
  struct PublishRequest {
    std::optional<std::string> description;
    std::string code_sha256;  // as CodeSha256() writes it; kInvalidArgument when $LATEST has other code; empty: any
  };
  Result<Published> PublishVersion(const std::string& name, const PublishRequest& request, ExpectedRevision revision);

  // The function with all that belongs to it, or one published version. Answers the versions that are gone.
  Result<std::vector<std::string>> DeleteFunction(const std::string& name);
  Result<std::vector<std::string>> DeleteVersion(const std::string& name, const std::string& version);

  // What invocations with this qualifier go to (a version, "$LATEST", an alias; empty: $LATEST).
  Result<Resolution> Resolve(const std::string& name, const std::string& qualifier);

  Result<AccountCounts> Counts();
  // The sha256 of every zip that a version refers to.
  Result<std::set<std::string>> CodeInUse();
  // The hash of every image that a version is served with.
  Result<std::set<std::string>> ImagesInUse();

  // --- Deployments (registry_deployments.cc) ---

  // All that are under way; after a restart they are to be begun again.
  Result<std::vector<PendingDeployment>> PendingDeployments();
  // `deployment` is FunctionVersion::deployment, read along with the configuration and the code that were made ready.
  // kNotFound: the version is gone, or something else is being made ready for it; nothing has changed then.
  Status FinishDeployment(const std::string& name, const std::string& version, const std::string& deployment,
                          const std::string& image);
  // `reason_code` as Lambda has them: InvalidZipFileException, FunctionError, InternalError, ...
  Status FailDeployment(const std::string& name, const std::string& version, const std::string& deployment,
                        const std::string& reason_code, const std::string& reason);

  // --- Aliases (registry_aliases.cc) ---

  // Versions must be there; weights only of one other published version, from 0 to 1.
  Result<Alias> CreateAlias(const Alias& alias);
  struct AliasUpdate {
    std::optional<std::string> version;
    std::optional<std::string> description;
    std::optional<std::map<std::string, double>> additional_weights;
  };
  Result<Alias> UpdateAlias(const std::string& function, const std::string& name, const AliasUpdate& update,
                            ExpectedRevision revision);
  Result<Alias> GetAlias(const std::string& function, const std::string& name);
  // `version`: only those that refer to it; empty: all.
  Result<Listed<Alias>> ListAliases(const std::string& function, const std::string& version, const Page& page);
  Status DeleteAlias(const std::string& function, const std::string& name);

  // --- Settings (registry_settings.cc, registry_urls.cc) ---

  Status SetReservedConcurrency(const std::string& function, std::optional<uint32_t> reserved);
  Result<std::optional<uint32_t>> GetReservedConcurrency(const std::string& function);

  // `change` gets what was there, or nothing, and answers what is to be there; it runs under the registry's lock.
  // The qualifier must be there.
  using EventInvokeConfigChange =
      std::function<Result<EventInvokeConfig>(const std::optional<EventInvokeConfig>& before)>;
  Result<EventInvokeConfig> ChangeEventInvokeConfig(const std::string& function, const std::string& qualifier,
                                                    const EventInvokeConfigChange& change);
  Result<EventInvokeConfig> GetEventInvokeConfig(const std::string& function, const std::string& qualifier);
  Result<Listed<EventInvokeConfig>> ListEventInvokeConfigs(const std::string& function, const Page& page);
  Status DeleteEventInvokeConfig(const std::string& function, const std::string& qualifier);

  // Chooses the id.
  Result<FunctionUrl> CreateUrl(const std::string& function, const std::string& qualifier, UrlAuth auth,
                                const std::optional<Cors>& cors);
  struct UrlUpdate {
    std::optional<UrlAuth> auth;
    std::optional<Cors> cors;
  };
  Result<FunctionUrl> UpdateUrl(const std::string& function, const std::string& qualifier, const UrlUpdate& update);
  Result<FunctionUrl> GetUrl(const std::string& function, const std::string& qualifier);
  Result<FunctionUrl> FindUrl(const std::string& id);
  Result<Listed<FunctionUrl>> ListUrls(const std::string& function, const Page& page);
  Status DeleteUrl(const std::string& function, const std::string& qualifier);

  // `qualifier` empty: of the function itself.
  Result<Policy> AddPolicyStatement(const std::string& function, const std::string& qualifier,
                                    const PolicyStatement& statement, ExpectedRevision revision);
  Result<Policy> GetPolicy(const std::string& function, const std::string& qualifier);
  Status RemovePolicyStatement(const std::string& function, const std::string& qualifier, const std::string& id,
                               ExpectedRevision revision);

  using Tags = std::map<std::string, std::string>;
  Result<Tags> GetTags(const std::string& function);
  // `change` runs under the registry's lock. Where it fails nothing changes.
  Status ChangeTags(const std::string& function, const std::function<Status(Tags& tags)>& change);

  // --- The queue of asynchronous events (registry_events.cc) ---
  //
  //   AddEvent ──> waiting ──ClaimDueEvents──> claimed ──EventDone──> gone
  //                   ^                           │
  //                   └──RetryEventAt, Postpone───┘
  //
  // Claims do not outlive the process: at Open every claimed event is due again. Events of a function go with it; the
  // last four calls do nothing for an event that is gone.

  // Due at once.
  Result<EventId> AddEvent(const NewEvent& event, int64_t now_ms);
  // The oldest of those due.
  Result<std::vector<Event>> ClaimDueEvents(int64_t now_ms, size_t limit);
  Status EventDone(EventId id);
  // With an event for a destination, which is there exactly when this one is gone.
  Status EventDone(EventId id, const NewEvent& follow_up, int64_t now_ms);
  // After an attempt that failed: counts it.
  Status RetryEventAt(EventId id, int64_t due_ms);
  // After one that was no attempt (throttled, the node is stopping): counts nothing.
  Status PostponeEvent(EventId id, int64_t due_ms);
  // When the next of the unclaimed is due.
  Result<std::optional<int64_t>> NextEventDue();
  // All that are not gone.
  Result<uint64_t> CountEvents();

 private:
  explicit Registry(std::unique_ptr<Database> database);

  // `work` in one transaction, which is undone when it fails. Each takes the lock.
  Status Change(const std::function<Status()>& work);  // a new generation when it is done
  Status ChangeQueue(const std::function<Status()>& work);
  Status FinishClaim(EventId id, const std::function<Status()>& work);

  // Below: with the lock held.
  Status RequireFunction(const std::string& name);
  Result<FunctionVersion> Load(const std::string& name, const std::string& version);
  // `qualifier` as in GetFunction.
  Result<FunctionVersion> LoadQualified(const std::string& name, const std::string& qualifier);
  Status Store(const FunctionVersion& version);
  // $LATEST, when it is not InProgress and has this revision.
  Result<FunctionVersion> LoadForUpdate(const std::string& name, ExpectedRevision revision);
  Status BeginUpdate(FunctionVersion& latest);
  Result<FunctionVersion> AddVersion(const FunctionVersion& latest, const std::optional<std::string>& description);
  Result<std::optional<FunctionVersion>> LastPublished(const std::string& name);
  Result<FunctionVersion> LoadDeployment(const std::string& name, const std::string& version,
                                         const std::string& deployment);
  Result<Alias> LoadAlias(const std::string& function, const std::string& name);
  Status CheckAlias(const Alias& alias);
  Status StoreAlias(const Alias& alias);
  Result<std::vector<std::string>> AliasesOf(const std::string& function, const std::string& version);
  Status RequireQualifier(const std::string& function, const std::string& qualifier);
  Status DeleteSettingsOf(const std::string& function, const std::string& qualifier);
  Result<EventInvokeConfig> LoadEventInvokeConfig(const std::string& function, const std::string& qualifier);
  Result<Tags> LoadTags(const std::string& function);
  Status StoreUrl(const FunctionUrl& url);
  Result<FunctionUrl> LoadUrl(const std::string& function, const std::string& qualifier);
  Result<Policy> LoadPolicy(const std::string& function, const std::string& qualifier);
  Status StorePolicy(const std::string& function, const std::string& qualifier, const Policy& policy);
  Status InsertEvent(const NewEvent& event, int64_t now_ms);

  std::mutex mutex_;
  std::unique_ptr<Database> database_;
  std::unordered_set<EventId> claimed_;
  std::atomic<uint64_t> generation_{1};
};

}  // namespace snapfaas::registry
