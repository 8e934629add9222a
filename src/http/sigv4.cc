#include "http/sigv4.h"

#include <fmt/format.h>
#include <openssl/crypto.h>

#include <algorithm>
#include <charconv>
#include <ctime>

#include "http/url.h"

namespace snapfaas::http {
namespace {

constexpr std::string_view kAlgorithm = "AWS4-HMAC-SHA256";
constexpr std::string_view kUnsignedPayload = "UNSIGNED-PAYLOAD";
constexpr int64_t kSkewSeconds = 15 * 60;
constexpr int64_t kMaxExpiresSeconds = 7 * 24 * 3600;

// What a client claims, from the Authorization header or the query.
struct Claim {
  std::string access_key;
  std::string day;
  std::string region;
  std::string service;
  std::vector<std::string> signed_headers;
  std::string signature;
  std::string time;
  std::optional<int64_t> expires_seconds;  // presigned
};

using Parsed = tl::expected<Claim, SignatureRefusal>;

tl::unexpected<SignatureRefusal> Refuse(std::string type, std::string message) {
  return tl::unexpected<SignatureRefusal>(SignatureRefusal{std::move(type), std::move(message)});
}

tl::unexpected<SignatureRefusal> Incomplete(std::string message) {
  return Refuse("IncompleteSignatureException", std::move(message));
}

std::vector<std::string> Split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.emplace_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::optional<std::string_view> Find(const Fields& headers, std::string_view lower_name) {
  for (const auto& [key, value] : headers) {
    if (ToLower(key) == lower_name) return value;
  }
  return std::nullopt;
}

std::optional<int64_t> ParseNumber(std::string_view digits) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value);
  if (error != std::errc() || end != digits.data() + digits.size() || value < 0) return std::nullopt;
  return value;
}

// "20150830T123600Z"
std::string FormatTime(int64_t unix_seconds) {
  const time_t seconds = unix_seconds;
  std::tm parts{};
  ::gmtime_r(&seconds, &parts);
  return fmt::format("{:04}{:02}{:02}T{:02}{:02}{:02}Z", parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                     parts.tm_hour, parts.tm_min, parts.tm_sec);
}

std::optional<int64_t> ParseTime(std::string_view text) {
  if (text.size() != 16 || text[8] != 'T' || text[15] != 'Z') return std::nullopt;
  const auto day = ParseNumber(text.substr(0, 8));
  const auto time = ParseNumber(text.substr(9, 6));
  if (!day || !time) return std::nullopt;
  std::tm parts{};
  parts.tm_year = static_cast<int>(*day / 10000) - 1900;
  parts.tm_mon = static_cast<int>(*day / 100 % 100) - 1;
  parts.tm_mday = static_cast<int>(*day % 100);
  parts.tm_hour = static_cast<int>(*time / 10000);
  parts.tm_min = static_cast<int>(*time / 100 % 100);
  parts.tm_sec = static_cast<int>(*time % 100);
  const int64_t seconds = ::timegm(&parts);
  // A date that is none, such as the 31st of February, does not come back as it was.
  if (FormatTime(seconds) != text) return std::nullopt;
  return seconds;
}

std::string ScopeText(std::string_view day, const SigningScope& scope) {
  return fmt::format("{}/{}/{}/aws4_request", day, scope.region, scope.service);
}

Result<std::string> CanonicalRequest(const SignableRequest& request, const std::vector<std::string>& signed_headers,
                                     std::string_view payload_hash) {
  auto query = CanonicalQuery(request.query);
  if (!query) return Forward(query.error());
  auto headers = CanonicalHeaders(request.headers, signed_headers);
  if (!headers) return Forward(headers.error());
  return fmt::format("{}\n{}\n{}\n{}\n{}\n{}", request.method, CanonicalPath(request.path), *query, *headers,
                     JoinNames(signed_headers), payload_hash);
}

std::string Signature(const std::string& secret_key, const SigningScope& scope, const std::string& time,
                      std::string_view canonical_request) {
  const std::string day = time.substr(0, 8);
  const std::string to_sign =
      fmt::format("{}\n{}\n{}\n{}", kAlgorithm, time, ScopeText(day, scope), Sha256Hex(canonical_request));
  const Digest day_key = HmacSha256("AWS4" + secret_key, day);
  const Digest region_key = HmacSha256(AsText(day_key), scope.region);
  const Digest service_key = HmacSha256(AsText(region_key), scope.service);
  const Digest key = HmacSha256(AsText(service_key), "aws4_request");
  return Hex(HmacSha256(AsText(key), to_sign));
}

// "AKID/20150830/us-east-1/lambda/aws4_request"
std::optional<SignatureRefusal> ParseCredential(std::string_view text, Claim& claim) {
  const auto parts = Split(text, '/');
  if (parts.size() != 5 || parts[4] != "aws4_request") {
    return Incomplete(fmt::format("Credential must be KEY/DAY/REGION/SERVICE/aws4_request, not '{}'.", text)).value();
  }
  claim.access_key = parts[0];
  claim.day = parts[1];
  claim.region = parts[2];
  claim.service = parts[3];
  return std::nullopt;
}

Parsed ParseAuthorization(const SignableRequest& request, std::string_view authorization) {
  const size_t space = authorization.find(' ');
  if (authorization.substr(0, space) != kAlgorithm) {
    return Incomplete(fmt::format("The Authorization header must begin with {}.", kAlgorithm));
  }
  std::optional<std::string> credential;
  Claim claim;
  for (const auto& part : Split(authorization.substr(std::min(space, authorization.size())), ',')) {
    const std::string_view pair = Trim(part);
    const size_t equals = std::min(pair.find('='), pair.size());
    const std::string_view name = pair.substr(0, equals);
    const std::string_view value = pair.substr(std::min(equals + 1, pair.size()));
    if (name == "Credential") credential = value;
    if (name == "SignedHeaders") claim.signed_headers = Split(value, ';');
    if (name == "Signature") claim.signature = value;
  }
  if (!credential) return Incomplete("Authorization header requires 'Credential' parameter.");
  if (claim.signed_headers.empty()) return Incomplete("Authorization header requires 'SignedHeaders' parameter.");
  if (claim.signature.empty()) return Incomplete("Authorization header requires 'Signature' parameter.");
  const auto time = Find(request.headers, "x-amz-date");
  if (!time) return Incomplete("Authorization header requires existence of an 'X-Amz-Date' header.");
  claim.time = *time;
  if (auto refusal = ParseCredential(*credential, claim)) return tl::unexpected(std::move(*refusal));
  return claim;
}

Parsed ParsePresigned(const QueryPairs& query) {
  const auto credential = FindQuery(query, "X-Amz-Credential");
  const auto time = FindQuery(query, "X-Amz-Date");
  const auto signed_headers = FindQuery(query, "X-Amz-SignedHeaders");
  const auto signature = FindQuery(query, "X-Amz-Signature");
  const auto expires = ParseNumber(FindQuery(query, "X-Amz-Expires").value_or(""));
  if (FindQuery(query, "X-Amz-Algorithm") != kAlgorithm || !credential || !time || !signed_headers || !signature ||
      !expires || *expires > kMaxExpiresSeconds) {
    return Incomplete(
        "A presigned request needs X-Amz-Algorithm, -Credential, -Date, -Expires (a week at most), -SignedHeaders and "
        "-Signature in its query.");
  }
  Claim claim;
  claim.time = *time;
  claim.signed_headers = Split(*signed_headers, ';');
  claim.signature = *signature;
  claim.expires_seconds = *expires;
  if (auto refusal = ParseCredential(*credential, claim)) return tl::unexpected(std::move(*refusal));
  return claim;
}

Parsed ParseClaim(const SignableRequest& request) {
  if (const auto authorization = Find(request.headers, "authorization")) {
    return ParseAuthorization(request, *authorization);
  }
  const auto query = ParseQuery(request.query);
  if (query && FindQuery(*query, "X-Amz-Signature")) return ParsePresigned(*query);
  return Refuse("MissingAuthenticationTokenException", "Missing Authentication Token");
}

std::optional<SignatureRefusal> CheckTime(const Claim& claim, int64_t now) {
  const auto time = ParseTime(claim.time);
  if (!time) return Incomplete(fmt::format("X-Amz-Date must be like 20150830T123600Z, not '{}'.", claim.time)).value();
  if (claim.time.substr(0, 8) != claim.day) {
    return Refuse("InvalidSignatureException",
                  fmt::format("Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from "
                              "HTTP: '{}' != '{}', from '{}'.",
                              claim.day, claim.time.substr(0, 8), claim.time))
        .value();
  }
  if (*time > now + kSkewSeconds) {
    return Refuse("InvalidSignatureException", fmt::format("Signature not yet current: {} is still later than {}",
                                                           claim.time, FormatTime(now + kSkewSeconds)))
        .value();
  }
  const int64_t good_for = claim.expires_seconds.value_or(kSkewSeconds);
  if (*time + good_for < now) {
    return Refuse("InvalidSignatureException",
                  fmt::format("Signature expired: {} is now earlier than {}", claim.time, FormatTime(now - good_for)))
        .value();
  }
  return std::nullopt;
}

bool IsSame(std::string_view a, std::string_view b) {
  return a.size() == b.size() && CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

}  // namespace

Result<Fields> SignRequest(const Credentials& credentials, const SigningScope& scope, int64_t unix_seconds,
                           const SignableRequest& request) {
  const std::string time = FormatTime(unix_seconds);
  Fields headers = request.headers;
  headers.emplace_back("X-Amz-Date", time);
  std::vector<std::string> names = {"host"};
  for (const auto& field : headers) {
    std::string name = ToLower(field.first);
    if (name == "content-type" || name.starts_with("x-amz-")) names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());

  const SignableRequest dated{request.method, request.path, request.query, headers, request.body};
  auto canonical = CanonicalRequest(dated, names, Sha256Hex(request.body));
  if (!canonical) return Forward(canonical.error());
  return Fields{
      {"X-Amz-Date", time},
      {"Authorization", fmt::format("{} Credential={}/{}, SignedHeaders={}, Signature={}", kAlgorithm,
                                    credentials.access_key, ScopeText(time.substr(0, 8), scope), JoinNames(names),
                                    Signature(credentials.secret_key, scope, time, *canonical))}};
}

Result<std::string> PresignGet(const Credentials& credentials, const SigningScope& scope, int64_t unix_seconds,
                               int64_t expires_seconds, const std::string& host, std::string_view path,
                               std::string_view query) {
  const std::string time = FormatTime(unix_seconds);
  const std::string credential =
      PercentEncode(fmt::format("{}/{}", credentials.access_key, ScopeText(time.substr(0, 8), scope)));
  const std::string claimed =
      fmt::format("{}{}X-Amz-Algorithm={}&X-Amz-Credential={}&X-Amz-Date={}&X-Amz-Expires={}&X-Amz-SignedHeaders=host",
                  query, query.empty() ? "" : "&", kAlgorithm, credential, time, expires_seconds);
  const Fields headers = {{"Host", host}};
  auto canonical = CanonicalRequest({"GET", path, claimed, headers, ""}, {"host"}, Sha256Hex(""));
  if (!canonical) return Forward(canonical.error());
  return fmt::format("{}&X-Amz-Signature={}", claimed, Signature(credentials.secret_key, scope, time, *canonical));
}

std::optional<SignatureRefusal> VerifyRequest(const Credentials& credentials, std::string_view service,
                                              int64_t now_unix_seconds, const SignableRequest& request) {
  const auto claim = ParseClaim(request);
  if (!claim) return claim.error();
  if (!IsSame(claim->access_key, credentials.access_key)) {
    return SignatureRefusal{"UnrecognizedClientException", "The security token included in the request is invalid."};
  }
  if (claim->service != service) {
    return SignatureRefusal{"InvalidSignatureException",
                            fmt::format("Credential should be scoped to correct service: '{}'.", service)};
  }
  if (auto refusal = CheckTime(*claim, now_unix_seconds)) return refusal;
  const auto& names = claim->signed_headers;
  if (!std::is_sorted(names.begin(), names.end()) || std::find(names.begin(), names.end(), "host") == names.end()) {
    return SignatureRefusal{"InvalidSignatureException", "SignedHeaders must be sorted and name 'host'."};
  }

  const SignatureRefusal mismatch{
      "InvalidSignatureException",
      "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
      "and signing method. Consult the service documentation for details."};
  // A claimed hash that is not the body's comes to another signature than the client's.
  const bool is_unsigned = Find(request.headers, "x-amz-content-sha256") == kUnsignedPayload;
  const std::string payload_hash = is_unsigned ? std::string(kUnsignedPayload) : Sha256Hex(request.body);
  const auto canonical = CanonicalRequest(request, names, payload_hash);
  if (!canonical) return SignatureRefusal{mismatch.type, canonical.error().Message()};
  const SigningScope scope{claim->region, claim->service};
  if (!IsSame(claim->signature, Signature(credentials.secret_key, scope, claim->time, *canonical))) return mismatch;
  return std::nullopt;
}

}  // namespace snapfaas::http
