// Reading what devices publish on `up`, and writing what they are answered. Bytes: proto/lambda.proto. Everything that
// comes is taken as hostile. No state; any one thread.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/result.h"
#include "gateway/store/store.h"
#include "lambda/uplink.h"

namespace lambda::gateway {

inline constexpr uint32_t kMessageVersion = 1;
inline constexpr size_t kParcelBlocksMax = 4096;
inline constexpr size_t kParcelItemsMax = 4096;  // declarations, gaps and clock segments, each
inline constexpr size_t kLabelsMax = 32;
inline constexpr size_t kLabelBytesMax = 1024;
inline constexpr size_t kMetricNameBytesMax = 200;

// What can be known of an Up message without decoding it: enough to answer it. Views are into the message.
struct UpHead {
  enum class Body { kHello, kParcel };
  Body body = Body::kParcel;
  uint32_t version = 0;
  std::string_view site, device;
  uint64_t boot = 0, seq = 0;  // seq 0 for a hello
  std::string_view inner;      // the Hello or Parcel message's own bytes
};
// Nothing: not an Up message, or not exactly one body.
std::optional<UpHead> read_up_head(std::span<const std::byte> message);

// A parcel that is decoded but not verified yet.
struct DecodedParcel {
  StoreRequest request;  // but for `digest`, which is set here, nothing of it is trusted yet
  std::string signature;
  uint32_t key_spec = 0;
  uint64_t points = 0;
  uint64_t points_ahead = 0;  // points of blocks that end later than `now_ms` + `ahead_ms_max`
};

enum class DecodeVerdict { kOk, kMalformed, kUnsupported };  // kUnsupported: well formed, but newer than this gateway
struct Decoded {
  DecodeVerdict verdict = DecodeVerdict::kMalformed;
  std::string text;  // names the field, block and byte offset
};

struct ParcelLimits {
  int64_t ahead_ms_max = 300'000;
};

// Decodes and checks a parcel: fields, declarations, every block and its points, content roots, digest.
class ParcelDecoder {
 public:
  ParcelDecoder();
  ~ParcelDecoder();
  Decoded decode(const UpHead& head, int64_t now_ms, const ParcelLimits& limits, DecodedParcel* parcel);

 private:
  Decoded decode_blocks(const UpHead& head, int64_t now_ms, const ParcelLimits& limits, DecodedParcel* parcel);
  std::vector<Point> points_;
};

struct DecodedHello {
  HelloRecord record;
  Digest digest{};
  std::string signature, software;
  uint32_t key_spec = 0;
  uint64_t nonce = 0, next_seq = 0, floor_seq = 0, backlog_parcels = 0, backlog_bytes = 0;
  int64_t sent_ms = 0;
};
Decoded decode_hello(const UpHead& head, DecodedHello* hello);

// Answers.
struct Answerer {
  std::string gateway;
  uint64_t incarnation = 0;
};
std::string make_ack(const Answerer& from, uint64_t boot, const AckState& state, uint64_t nonce, int64_t now_ms);
std::string make_retry_after(const Answerer& from, uint64_t boot, uint64_t seq, uint32_t delay_ms,
                             std::string_view reason);
std::string make_permanent(const Answerer& from, uint64_t boot, uint64_t seq, RefusalCode code, std::string_view text);
std::string make_declare(const Answerer& from, uint64_t boot, uint64_t seq, const std::vector<uint32_t>& refs);
// `lease_s` 0 and no selectors: nothing is wanted at once, the gateway is only announced.
std::string make_interest(const Answerer& from, uint64_t interest_version, uint32_t lease_s,
                          const std::vector<std::string>& selectors);

}  // namespace lambda::gateway
