// Deployer: makes the image of a function version (one appfs: code and configuration) of its zip archive, and keeps the
// images:
//
//   <data>/node/images/<hash>.erofs   complete under that name, never changed
//   <data>/node/tmp/                  what is being made; emptied when the node starts
//
// An image is named by the hash of its bytes, as the snapshots that are taken of it are; the same archive and
// configuration give the same image. Thread-safe.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/result.h"
#include "images/runtimefs.h"

namespace snapfaas::node {

// What the guest finds in .snapfaas/function.json (docs/guest_contract.md, "Functions"). Changing it makes another
// image.
struct FunctionImageConfig {
  std::string handler;  // e.g. "app.handler"
  std::map<std::string, std::string> environment;
  std::string function;
  std::string version;  // "$LATEST" or a number
  uint32_t memory_mib = 0;
  std::string region;
  std::string arn;
};

struct DeployedImage {
  std::string hash;
  std::filesystem::path path;
  uint64_t bytes = 0;
  // While it or a copy of it lives, Sweep keeps the image.
  std::shared_ptr<const void> hold;
};

// Whether the archive can be deployed. kInvalidArgument says what is wrong with it: it is not whole, leads out of its
// folder, holds what is no file, is encrypted, or is larger than Lambda allows (zip_reader.h).
Status CheckZip(const std::filesystem::path& zip);

class Deployer {
 public:
  // `node_folder` is <data>/node. Removes what an earlier process has left half-made.
  static Result<Deployer> Open(const std::filesystem::path& node_folder);

  // Whether the handler exists is not looked at, as with AWS Lambda: the first invocation tells. kInvalidArgument as
  // CheckZip; kResourceExhausted: the disk is full. On any error nothing is left.
  Result<DeployedImage> MakeImage(const std::filesystem::path& zip, const FunctionImageConfig& config,
                                  const images::RuntimeImages& runtime);

  // kNotFound when there is none of that hash.
  Result<DeployedImage> Find(const std::string& hash);

  // Removes the images but those whose hashes are in `keep`, or that are held. Returns how many.
  Result<size_t> Sweep(const std::set<std::string>& keep);

 private:
  class Holds;
  explicit Deployer(const std::filesystem::path& node_folder);

  std::filesystem::path PathOf(const std::string& hash) const;
  Status Publish(const std::filesystem::path& made, const std::filesystem::path& path) const;

  std::filesystem::path images_;
  std::filesystem::path temporary_;
  std::shared_ptr<Holds> holds_;
};

}  // namespace snapfaas::node
