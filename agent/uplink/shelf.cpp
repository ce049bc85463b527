#include "agent/uplink/shelf.h"

#include "base/planted.h"
#include "lambda/messages.h"

namespace lambda::agent {
namespace {

const char* code_name(RefusalCode code) {
  switch (code) {
    case RefusalCode::kMalformed:
      return "malformed";
    case RefusalCode::kSignature:
      return "signature";
    case RefusalCode::kConflict:
      return "conflict";
    case RefusalCode::kTooLarge:
      return "too_large";
    case RefusalCode::kWrongSender:
      return "wrong_sender";
  }
  return "unknown";
}

}  // namespace

void SpoolShelf::begin_connection() {
  fresh_from_.clear();
  for (const auto& boot : spool_.state().boots()) fresh_from_[boot->id] = boot->next_seq;
}

uint64_t SpoolShelf::fresh_from(uint64_t boot) const {
  const auto found = fresh_from_.find(boot);
  if (found != fresh_from_.end()) return found->second;
  return boot == present_ ? 1 : UINT64_MAX;  // an older one whose journals were taken up since: backlog, all of it
}

bool SpoolShelf::next(Lane lane, ParcelKey after, ParcelKey* key, size_t* bytes) {
  const auto& boots = spool_.state().boots();
  size_t at = 0;
  uint64_t after_seq = 0;
  for (size_t i = 0; i < boots.size(); ++i) {
    if (after.seq == 0 || boots[i]->id != after.boot) continue;
    at = i;
    after_seq = after.seq;
  }
  if (after_seq == UINT64_MAX) {
    at++;
    after_seq = 0;
  }
  for (; at < boots.size(); ++at, after_seq = 0) {
    const uint64_t boot = boots[at]->id;
    const uint64_t fresh = fresh_from(boot);
    const uint64_t from = lane == Lane::kFresh ? std::max(after_seq, fresh - 1) : after_seq;
    const uint64_t before = lane == Lane::kFresh ? UINT64_MAX : fresh;
    if (spool_.next(boot, from, before, &key->seq, bytes)) {
      key->boot = boot;
      return true;
    }
  }
  return false;
}

bool SpoolShelf::boot(size_t index, uint64_t* boot) {
  if (index == 0) {
    *boot = present_;
    return present_ != 0;
  }
  size_t at = 0;
  for (const auto& candidate : spool_.state().boots()) {
    if (candidate->id == present_ || candidate->unsettled() == 0) continue;
    if (++at < index) continue;
    *boot = candidate->id;
    return true;
  }
  return false;
}

std::span<const uint8_t> SpoolShelf::hello(uint64_t id, uint64_t nonce) {
  const Boot* boot = spool_.state().find(id);
  if (boot == nullptr || boot->hello_signature.size() != kSignatureBytes) return {};
  HelloView view;
  view.site = names_.site;
  view.device = names_.device;
  view.boot = id;
  view.previous_boot = boot->previous;
  view.started_ms = boot->started_ms;
  view.signature = boot->hello_signature.data();
  view.nonce = nonce;
  view.sent_ms = env_.clock.utc_ms();
  view.next_seq = boot->next_seq;
  view.floor_seq = boot->floor_seq();
  view.backlog_parcels = spool_.parcels_left();
  view.backlog_bytes = spool_.bytes();
  view.software = software_;
  hello_.resize(kHelloBytesMax);
  return std::span<const uint8_t>(hello_).first(encode_hello(view, hello_));
}

std::span<const uint8_t> SpoolShelf::read(ParcelKey key) {
  if (planted("uplink_settles_what_it_sends")) {
    env_.loop.post([this, key] { spool_.settled(key.boot, key.seq, key.seq); });
  }
  return spool_.read(key.boot, key.seq);
}

void SpoolShelf::settled_through(uint64_t id, uint64_t seq) {
  if (planted("uplink_takes_acks_of_any_boot")) {
    for (const auto& boot : spool_.state().boots()) spool_.settled(boot->id, 1, seq);
  }
  spool_.settled(id, 1, seq);
  // A number that no agent can have reached is a mistake of the gateway's, and must not be ours.
  constexpr uint64_t kSeqPlausibleMax = uint64_t{1} << 48;
  Boot* boot = spool_.state().find(id);
  if (boot != nullptr && seq < kSeqPlausibleMax) boot->seq_known_max = std::max(boot->seq_known_max, seq);
}

void SpoolShelf::refused(ParcelKey key, RefusalCode code) {
  env_.log.error("parcel_refused", {{"boot", key.boot}, {"seq", key.seq}, {"why", code_name(code)}});
  spool_.refused(key.boot, key.seq);
}

void SpoolShelf::declare(uint64_t boot, std::span<const uint32_t> refs) {
  requests_.declare(boot, {refs.begin(), refs.end()});
}

}  // namespace lambda::agent
