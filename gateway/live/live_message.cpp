#include "gateway/live/live_message.h"

#include <google/protobuf/stubs/logging.h>

#include <string>

#include "gateway/ingest/declaration.h"
#include "lambda/codecs.h"
#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

Decoded malformed(std::string text) {
  return {DecodeVerdict::kMalformed, std::move(text)};
}

Decoded read_block(const std::string& bytes, int index, uint64_t boot, uint64_t* points_left, LiveBlock* block) {
  const std::string where = "blocks[" + std::to_string(index) + "]: ";
  const std::span<const uint8_t> span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  BlockReader reader;
  BlockStatus status = reader.open(span, boot, kAllCodings);
  if (status.ok()) {
    // Before it is unfolded.
    if (reader.info().count > *points_left) return malformed(where + "more than 65,536 points in a message");
    *points_left -= reader.info().count;
    block->points.resize(reader.info().count);
    status = decode_block(span, boot, &block->info, block->points, kAllCodings);
  }
  if (!status.ok()) {
    return malformed(where + block_error_name(status.error) + " at byte " + std::to_string(status.offset));
  }
  if (block->info.has_boot && block->info.boot != boot) return malformed(where + "is of another boot than its message");
  return {DecodeVerdict::kOk, {}};
}

}  // namespace

Decoded decode_live(std::span<const std::byte> message, LiveMessage* live) {
  // It writes a line on standard error for each string that is no UTF-8: a flood would fill the log with them.
  static const bool silent = google::protobuf::SetLogHandler(nullptr) != nullptr;
  (void)silent;
  v1::Live from;
  if (!from.ParseFromArray(message.data(), static_cast<int>(message.size()))) return malformed("not a Live message");
  if (from.version() > kMessageVersion) {
    return {DecodeVerdict::kUnsupported, "version " + std::to_string(from.version()) + " is unknown"};
  }
  if (from.boot() == 0) return malformed("boot is 0");
  if (static_cast<size_t>(from.blocks_size()) > kLiveBlocksMax) return malformed("more than 4096 blocks");
  if (static_cast<size_t>(from.declarations_size()) > kLiveDeclarationsMax) {
    return malformed("more than 4096 declarations");
  }
  live->boot = from.boot();
  live->interest_version = from.interest_version();
  live->declarations.resize(static_cast<size_t>(from.declarations_size()));
  for (int i = 0; i < from.declarations_size(); ++i) {
    Decoded read = read_declaration(from.declarations(i), i, &live->declarations[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  uint64_t points_left = kLivePointsMax;
  live->blocks.resize(static_cast<size_t>(from.blocks_size()));
  for (int i = 0; i < from.blocks_size(); ++i) {
    Decoded read = read_block(from.blocks(i), i, from.boot(), &points_left, &live->blocks[static_cast<size_t>(i)]);
    if (read.verdict != DecodeVerdict::kOk) return read;
  }
  return {DecodeVerdict::kOk, {}};
}

}  // namespace lambda::gateway
