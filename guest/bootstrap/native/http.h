// HTTP/1.1 as a server speaks it to one client: requests with bodies of a known length or in chunks, one after the
// other on a connection that stays open. What a request means is its owner's business (runtime_api.h).
//
// The client is the function. It may send anything; it gets a 4xx and loses its connection, nothing else happens.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace snapfaas::guest::native {

// Header fields, as they came: "Name: value\r\n" and so on.
class Fields {
 public:
  Fields() = default;
  explicit Fields(std::string_view lines) : lines_(lines) {}

  // The first field of that name, without the spaces around it; empty where there is none.
  std::string_view Get(std::string_view name) const;
  size_t Count(std::string_view name) const;

  // False: not a list of fields.
  bool WellFormed() const;

 private:
  std::string_view lines_;
};

struct Head {
  std::string_view method;
  std::string_view path;  // without a query
  Fields fields;
};

// Where the body of a request goes. What is beyond `capacity` is counted, not kept.
struct Body {
  char* data = nullptr;
  size_t capacity = 0;
  size_t size = 0;     // kept
  uint64_t total = 0;  // sent by the client

  std::string_view text() const { return {data, size}; }
};

class Connection {
 public:
  class Owner {
   public:
    Owner() = default;
    Owner(const Owner&) = delete;
    Owner& operator=(const Owner&) = delete;
    virtual ~Owner() = default;

    // A request begins; its body goes to the result, which stays valid until EndRequest or LoseRequest. Nothing of
    // `head` is valid after this call. Null: the body is of no interest.
    virtual Body* BeginRequest(Connection& connection, const Head& head) = 0;

    // The request is here as a whole. The owner responds now or later; until then nothing more is read.
    virtual void EndRequest(Connection& connection, const Fields& trailers) = 0;

    // The client has gone, or broken HTTP, after BeginRequest and before it had its whole response.
    virtual void LoseRequest(Connection& connection) = 0;
  };

  // Takes over the descriptor of a non-blocking socket.
  Connection(int fd, Owner& owner) : fd_(fd), owner_(owner) {}
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  int fd() const { return fd_; }
  bool closed() const { return phase_ == Phase::kClosed; }
  // All is said; only the client's own end is awaited, so that it can read the last response.
  bool draining() const { return phase_ == Phase::kDraining; }

  // For poll(2).
  short WantedEvents() const;
  void HandleEvents(short events);

  // Goes on with what was read ahead.
  void Process();

  // `fields` is empty or ends in "\r\n". `body` is copied.
  void Respond(int status, std::string_view fields, std::string_view body);

  // The same, but `body` is sent from where it is. It must stay there while lends_body().
  void RespondLending(int status, std::string_view fields, std::string_view body);
  bool lends_body() const { return !lent_.empty(); }

 private:
  enum class Phase {
    kHead,
    kLength,     // a body of a known length
    kChunkSize,  // the line before each chunk
    kChunk,
    kChunkEnd,  // the line end behind it
    kTrailers,
    kAnswering,  // the request is complete, its response is not
    kDraining,
    kClosed,
  };

  static constexpr size_t kBufferBytes = size_t{32} << 10;

  std::string_view Ahead() const { return {buffer_.data() + begin_, end_ - begin_}; }
  void Read();
  void ReadBodyInPlace();
  bool Step();
  bool TakeHead();
  bool BeginBody(const Head& head, bool is_1_1);
  bool TakeBody();
  bool TakeChunkSize();
  bool TakeChunkEnd();
  bool TakeTrailers();
  bool EndRequest(const Fields& trailers);
  void Keep(std::string_view piece);
  void PutResponse(int status, std::string_view fields, size_t body_bytes);
  bool Refuse(int status);
  void Flush();
  void Lose();
  void Close();

  int fd_;
  Owner& owner_;
  Phase phase_ = Phase::kHead;
  bool owned_ = false;      // between BeginRequest and the end of the response
  bool close_ = false;      // after this response
  bool responded_ = false;  // the response is in out_
  Body* body_ = nullptr;
  uint64_t left_ = 0;  // of the body or chunk
  size_t begin_ = 0;
  size_t end_ = 0;
  std::string out_;
  size_t out_sent_ = 0;
  std::string_view lent_;
  std::array<char, kBufferBytes> buffer_;
};

}  // namespace snapfaas::guest::native
