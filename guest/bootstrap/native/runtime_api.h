// The Lambda Runtime API (2018-06-01) between the function, which speaks it over HTTP, and the host, which speaks
// frames. One thread, one poll loop.
//
// States, named as AWS names them in its error texts:
//
//   Started --next--> Ready --event--> Running --response or error--> ResponseSent --next--> Ready
//   Started --restore/next--> RestoreReady --> Restoring --next--> Ready
//   Started --init/error--> InitError        Restoring --restore/error--> RestoreError
//
// Where a function snapshot is wanted it is taken when the function asks for restore/next, or, if it never does, for
// its first event: "loaded" is said then, and the question answered behind the snapshot. In a failed state the host
// gets the failure as the answer to every event.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <string_view>

#include "bootstrap/native/channel.h"
#include "bootstrap/native/function.h"
#include "bootstrap/native/http.h"

namespace snapfaas::guest::native {

// The agent's lines (docs/guest_contract.md, "Agent and bootstrap").
class Control {
 public:
  Control(int in, int out) : in_(in), out_(out) {}
  // Waits for a line. Ends the process when the agent is gone.
  std::string ReadLine() const;
  void Say(std::string_view word) const;

 private:
  int in_;
  int out_;
};

class RuntimeApi : public Connection::Owner {
 public:
  RuntimeApi(int channel_fd, const Control& control);
  ~RuntimeApi() override;
  RuntimeApi(const RuntimeApi&) = delete;
  RuntimeApi& operator=(const RuntimeApi&) = delete;

  // At an address as "127.0.0.1:9001"; port 0: any. Ends the process when it cannot.
  void Listen(const std::string& address);
  const std::string& address() const { return address_; }

  // The function has been started. It may be null: somebody else plays it.
  enum class Snapshot { kNone, kWanted };
  void Begin(FunctionProcess* function, Snapshot snapshot);

  // It cannot be.
  void Fail(const LoadError& error);

  // One turn of the loop; waits `timeout_ms` at most, -1: until something happens.
  void Turn(int timeout_ms);

 private:
  enum class State { kStarted, kRestoreReady, kRestoring, kReady, kRunning, kResponseSent, kInitError, kRestoreError };
  enum class Route { kUnknown, kNext, kResponse, kError, kInitError, kRestoreNext, kRestoreError };

  static constexpr size_t kMaxConnections = 32;

  // What is known of the request that a connection is at.
  struct Request {
    std::unique_ptr<Connection> connection;
    Route route = Route::kUnknown;
    int refusal = 0;  // the status to answer with instead
    std::string refusal_body;
    bool streaming = false;
    bool http_integration = false;
    std::string error_type;
  };

  struct Context {
    std::string request_id;
    std::string fields;  // what the header fields of an event say of it
  };

  Body* BeginRequest(Connection& connection, const Head& head) override;
  void EndRequest(Connection& connection, const Fields& trailers) override;
  void LoseRequest(Connection& connection) override;

  Request& RequestOf(const Connection& connection);
  Route RouteOf(std::string_view path, std::string_view& request_id) const;
  // Whether a request of this kind may be made in this state.
  bool IsInPlace(Route route) const;
  // What it changes is changed when it has come as a whole.
  void CheckRequest(Request& request, const Head& head, std::string_view request_id) const;
  static void Refuse(Request& request, int status, std::string_view type, std::string_view message);
  void RefuseTransition(Request& request) const;
  static const char* NameOf(State state);
  static const char* TargetOf(Route route);

  void TakeNext(Connection& connection);
  void TakeRestoreNext(Connection& connection);
  void TakeResponse(Request& request, const Fields& trailers);
  void TakeFailure(const Request& request, State state);
  void Answer(std::string_view kind, std::string_view payload);
  void AnswerTooLarge(uint64_t bytes);

  void SayLoaded();
  void PassSnapshot();
  bool WantsFrames() const;
  void PumpFrames();
  void TakeContext(std::string_view payload);
  void TakeEvent(std::string_view payload);
  void Deliver(Connection& connection);

  void Accept();

  Channel channel_;
  Control control_;
  FunctionProcess* function_ = nullptr;
  std::string address_;
  int listener_ = -1;
  int pause_ms_ = 0;  // no host is connected: how long to leave the channel alone

  State state_ = State::kStarted;
  bool begun_ = false;
  bool loaded_ = false;
  bool snapshot_wanted_ = false;
  std::string failure_;

  Context context_;
  std::string event_id_;
  std::string event_fields_;
  std::string_view event_;
  Connection* waiter_ = nullptr;    // has asked for an event, or for the restore
  Connection* answerer_ = nullptr;  // is sending the answer
  PayloadMemory answer_memory_{kMaxFrameBytes};
  Body answer_;
  std::array<Request, kMaxConnections> requests_;
};

}  // namespace snapfaas::guest::native
