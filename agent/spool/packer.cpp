#include "agent/spool/packer.h"

#include <algorithm>
#include <cstring>

#include "lambda/messages.h"

namespace lambda::agent {
namespace {

SignPort sign_port(const SigningKey& key) {
  return {const_cast<SigningKey*>(&key), [](void* context, const uint8_t* digest, uint8_t* signature) {
            Digest copy;
            std::memcpy(copy.data(), digest, copy.size());
            const Signature signed_digest = static_cast<const SigningKey*>(context)->sign(copy);
            std::memcpy(signature, signed_digest.data(), signed_digest.size());
            return true;
          }};
}

GapView view(const Gap& gap) {
  return {gap.run.ref, gap.run.first, gap.run.count, gap.reason};
}
ClockView view(const Clock64& clock) {
  return {clock.segment, clock.relative, clock.offset_ms, clock.known};
}

}  // namespace

bool Packer::pack(const Boot& boot, int64_t created_ms, PackInput& input, Packed* packed,
                  std::vector<BlockHead>* too_large) {
  ParcelHead head;
  head.site = options_.site;
  head.device = options_.device;
  head.boot = boot.id;
  head.seq = boot.next_seq;
  head.created_ms = created_ms;
  head.floor_seq = boot.floor_seq();
  head.previous = boot.has_digest ? boot.last_digest.data() : nullptr;

  const SeriesTable& table = *boot.series;
  std::vector<LabelView> labels;
  std::vector<uint32_t> declare;
  std::vector<bool> declared_now(table.size(), false);
  ParcelPlan plan(head, options_.parcel_bytes_max);
  *packed = {};
  packed->seq = boot.next_seq;

  // Clocks and gaps first: they are small, and what they say concerns the blocks.
  size_t clocks = 0, gaps = 0;
  while (clocks < input.clocks.size() && plan.add(view(input.clocks[clocks]))) clocks++;
  while (!input.declare.empty()) {
    const uint32_t ref = input.declare.front();
    if (table.known(ref) && !declared_now[ref]) {
      if (!plan.add(table.declaration(ref, labels))) {
        if (plan.empty()) input.declare.pop_front();
        break;
      }
      declared_now[ref] = true;
      declare.push_back(ref);
    }
    input.declare.pop_front();
  }
  while (gaps < input.gaps.size() && plan.add(view(input.gaps[gaps]))) gaps++;
  BlockHead block;
  while (input.blocks != nullptr && input.blocks->peek(&block)) {
    const uint32_t ref = block.info.ref;
    const bool wants = table.known(ref) && !table.at(ref).declared && !declared_now[ref];
    const bool fits = wants ? plan.add_block(block.bytes, table.declaration(ref, labels)) : plan.add_block(block.bytes);
    if (!fits && !plan.empty()) break;
    input.blocks->take();
    if (!fits) {
      too_large->push_back(block);
      continue;
    }
    if (wants) {
      declared_now[ref] = true;
      declare.push_back(ref);
    }
    packed->blocks.push_back(block);
    packed->points += block.info.count;
  }
  if (plan.empty()) return false;

  packed->up.resize(plan.bytes());
  ParcelBuilder builder(host_hash(), head, plan, packed->up);
  for (const uint32_t ref : declare) builder.declaration(table.declaration(ref, labels));
  for (const BlockHead& chosen : packed->blocks) {
    std::span<const uint8_t> bytes(chosen.data, chosen.bytes);
    if (chosen.data == nullptr) {
      block_.resize(chosen.bytes);
      const bool there = input.blocks->copy(chosen, block_);
      LAMBDA_ASSERT(there);
      bytes = block_;
    }
    builder.block(chosen.info, chosen.root, bytes);
  }
  for (size_t i = 0; i < gaps; ++i) builder.gap(view(input.gaps[i]));
  for (size_t i = 0; i < clocks; ++i) builder.clock(view(input.clocks[i]));
  input.gaps.erase(input.gaps.begin(), input.gaps.begin() + static_cast<long>(gaps));
  input.clocks.erase(input.clocks.begin(), input.clocks.begin() + static_cast<long>(clocks));
  const auto message = builder.finish(sign_port(key_), packed->digest.data());
  LAMBDA_ASSERT(message.size() == packed->up.size());
  return true;
}

std::vector<uint8_t> sign_hello(const SigningKey& key, const PackerOptions& options, uint64_t boot,
                                uint64_t previous_boot, int64_t started_ms) {
  Digest digest;
  hello_digest(host_hash(), options.site, options.device, boot, previous_boot, started_ms, digest.data());
  const Signature signature = key.sign(digest);
  return {signature.begin(), signature.end()};
}

}  // namespace lambda::agent
