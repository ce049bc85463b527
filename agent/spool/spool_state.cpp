#include "agent/spool/spool_state.h"

#include <algorithm>
#include <cstring>

#include "proto/lambda.pb.h"
#include "proto/store.pb.h"

namespace lambda::agent {
namespace {

constexpr size_t kItemsPerCheckpointMax = 4096;  // declarations and covers; keeps a record far below its bound
constexpr size_t kFilesPerCheckpointMax = 16'384;
constexpr uint64_t kSeqMax = uint64_t{1} << 62;

tl::unexpected<Error> corrupt(const char* what) {
  return fail(ErrorCode::kCorrupt, std::string("spool: ") + what);
}

template <class Message>
bool parse(std::span<const std::byte> body, Message& message) {
  return message.ParseFromArray(body.data(), static_cast<int>(body.size()));
}

template <class Message>
std::vector<std::byte> encode(const Message& message) {
  std::vector<std::byte> out(message.ByteSizeLong());
  message.SerializeToArray(out.data(), static_cast<int>(out.size()));
  return out;
}

void write_gap(const Gap& gap, v1::Gap& out) {
  out.set_ref(gap.run.ref);
  out.set_first_ordinal(gap.run.first);
  out.set_count(gap.run.count);
  out.set_reason(static_cast<v1::GapReason>(gap.reason));
}

bool read_gap(const v1::Gap& gap, Gap* out) {
  *out = {{gap.ref(), gap.first_ordinal(), gap.count()}, static_cast<GapReason>(gap.reason())};
  return gap.count() > 0 && gap.first_ordinal() < kSeqMax && gap.count() < kSeqMax && gap.ref() < (1u << 20);
}

void write_head(const Boot& boot, v1::BootState& out) {
  out.set_boot(boot.id);
  out.set_previous_boot(boot.previous);
  out.set_started_ms(boot.started_ms);
  out.set_next_seq(boot.next_seq);
  out.set_floor_seq(boot.floor_seq());
  if (boot.has_digest) out.set_last_digest(boot.last_digest.data(), boot.last_digest.size());
  for (const auto& [first, last] : boot.gone.runs()) {
    if (last < boot.floor_seq()) continue;
    auto* range = out.add_settled();
    range->set_first(first);
    range->set_last(last);
  }
  out.set_hello_signature(boot.hello_signature.data(), boot.hello_signature.size());
  for (const Clock64& clock : boot.clocks) {
    auto* segment = out.add_clocks();
    segment->set_segment(clock.segment);
    segment->set_relative(clock.relative);
    segment->set_offset_ms(clock.offset_ms);
    segment->set_known(clock.known);
  }
}

Status read_boot(const v1::BootState& in, Boot& boot) {
  if (in.previous_boot() != 0) boot.previous = in.previous_boot();
  if (in.started_ms() != 0) boot.started_ms = in.started_ms();
  if (in.next_seq() >= kSeqMax || in.floor_seq() >= kSeqMax) return corrupt("BootState: a seq is too large");
  boot.next_seq = std::max({boot.next_seq, in.next_seq(), uint64_t{1}});
  if (in.floor_seq() > 1) boot.gone.add(1, in.floor_seq() - 1);
  for (const auto& range : in.settled()) {
    if (range.first() == 0 || range.last() >= boot.next_seq) return corrupt("BootState: settled past the last seq");
    boot.gone.add(range.first(), range.last());
  }
  if (in.last_digest().size() == boot.last_digest.size()) {
    std::memcpy(boot.last_digest.data(), in.last_digest().data(), boot.last_digest.size());
    boot.has_digest = true;
  }
  if (in.hello_signature().size() == 64) {
    boot.hello_signature.assign(in.hello_signature().begin(), in.hello_signature().end());
  }
  for (const auto& declaration : in.declarations()) {
    if (auto status = boot.series->put(declaration); !status) return status;
    boot.series->at(declaration.ref()).declared = true;
  }
  for (const auto& covered : in.covered()) {
    if (covered.next_ordinal() >= kSeqMax) return corrupt("BootState: an ordinal is too large");
    if (auto status = boot.series->reach(covered.ref()); !status) return status;
    uint64_t& mine = boot.series->at(covered.ref()).covered;
    mine = std::max(mine, covered.next_ordinal());
  }
  if (in.clocks_size() > 0) boot.clocks.clear();
  for (const auto& clock : in.clocks()) {
    boot.clocks.push_back({clock.segment(), clock.relative(), clock.offset_ms(), clock.known()});
  }
  for (const auto& gap : in.pending_gaps()) {
    Gap pending;
    if (!read_gap(gap, &pending)) return corrupt("BootState: a gap is wrong");
    boot.pending.add(pending);
  }
  return {};
}

}  // namespace

std::vector<Gap> Boot::gaps_to_name() const {
  GapSet all = named;
  for (const Gap& gap : pending.all()) all.add(gap);
  std::vector<Gap> out;
  for (const Gap& gap : all.all()) {
    if (pending.touches(gap.run)) out.push_back(gap);
  }
  return out;
}

void SpoolFile::add(uint64_t boot, uint64_t seq) {
  for (FileRun& run : runs) {
    if (run.boot != boot) continue;
    if (seq >= run.first_seq && seq <= run.last_seq) return;
    if (seq == run.last_seq + 1) {
      run.last_seq = seq;
      return;
    }
  }
  runs.push_back({boot, seq, seq});
}

Boot* SpoolState::find(uint64_t id) {
  for (const auto& boot : boots_) {
    if (boot->id == id) return boot.get();
  }
  return nullptr;
}

Boot& SpoolState::find_or_add(uint64_t id) {
  if (Boot* boot = find(id)) return *boot;
  boots_.push_back(std::make_unique<Boot>());
  boots_.back()->id = id;
  boots_.back()->series = std::make_shared<SeriesTable>(series_max_);
  return *boots_.back();
}

void SpoolState::move_before(uint64_t id, uint64_t other) {
  const auto place = [&](uint64_t wanted) {
    return std::find_if(boots_.begin(), boots_.end(), [&](const auto& boot) { return boot->id == wanted; });
  };
  LAMBDA_ASSERT(place(id) != boots_.end() && place(other) != boots_.end());
  std::unique_ptr<Boot> boot = std::move(*place(id));
  std::erase(boots_, nullptr);
  boots_.insert(place(other), std::move(boot));
}

void SpoolState::forget_finished() {
  std::erase_if(boots_, [](const auto& boot) {
    return !boot->held && !boot->packing && boot->unsettled() == 0 && boot->pending.empty() &&
           boot->gone_unsaved.count() == 0;
  });
}

void SpoolState::share_names() {
  std::vector<const SeriesTable*> different;
  for (const auto& boot : boots_) {
    SeriesTable& mine = *boot->series;
    const bool shared =
        std::any_of(different.begin(), different.end(), [&](const auto* other) { return mine.share_names(*other); });
    if (!shared) different.push_back(&mine);
  }
}

std::vector<std::vector<std::byte>> SpoolState::checkpoint() const {
  std::vector<std::vector<std::byte>> bodies;
  v1::Checkpoint message;
  size_t items = 0;
  const auto close = [&] {
    message.set_more(true);
    bodies.push_back(encode(message));
    message.Clear();
    items = 0;
  };
  for (const SpoolFile& file : files_) {
    auto* out = message.add_files();
    out->set_number(file.number);
    out->set_bytes(file.bytes);
    out->set_newest_ms(file.newest_ms);
    out->set_points_left(file.points_left);
    out->set_reaches_back(file.reaches_back);
    for (const FileRun& run : file.runs) {
      auto* seqs = out->add_runs();
      seqs->set_boot(run.boot);
      seqs->set_first_seq(run.first_seq);
      seqs->set_last_seq(run.last_seq);
      items++;
    }
    if (items >= kFilesPerCheckpointMax) close();
  }
  for (const auto& boot : boots_) {
    if (!boot->held && boot->unsettled() == 0 && boot->pending.empty()) continue;
    if (items >= kItemsPerCheckpointMax) close();
    v1::BootState* out = message.add_boots();
    write_head(*boot, *out);
    const auto count = [&] {
      if (++items < kItemsPerCheckpointMax) return;
      close();
      out = message.add_boots();
      out->set_boot(boot->id);
      out->set_next_seq(boot->next_seq);
    };
    for (const Gap& gap : boot->pending.all()) {
      write_gap(gap, *out->add_pending_gaps());
      count();
    }
    for (SeriesRef ref = 0; ref < boot->series->size(); ++ref) {
      const Series& series = boot->series->at(ref);
      if (series.covered > 0) {
        auto* covered = out->add_covered();
        covered->set_ref(ref);
        covered->set_next_ordinal(series.covered);
        count();
      }
      if (series.declared && boot->series->known(ref)) {
        boot->series->write(ref, *out->add_declarations());
        count();
      }
    }
  }
  message.set_more(false);
  bodies.push_back(encode(message));
  return bodies;
}

Result<bool> SpoolState::apply_checkpoint(std::span<const std::byte> body) {
  v1::Checkpoint message;
  if (!parse(body, message)) return corrupt("not a Checkpoint");
  for (const auto& in : message.files()) {
    SpoolFile file{in.number(), in.bytes(), in.newest_ms(), {}, in.points_left(), in.reaches_back()};
    for (const auto& run : in.runs()) {
      if (run.first_seq() == 0 || run.last_seq() < run.first_seq() || run.last_seq() >= kSeqMax) {
        return corrupt("Checkpoint: a file's seqs are wrong");
      }
      file.runs.push_back({run.boot(), run.first_seq(), run.last_seq()});
    }
    files_.push_back(std::move(file));
  }
  for (const auto& in : message.boots()) {
    if (in.boot() == 0) return corrupt("Checkpoint: a boot without an id");
    if (auto status = read_boot(in, find_or_add(in.boot())); !status) return tl::unexpected(status.error());
  }
  return message.more();
}

Status SpoolState::apply(uint8_t type, std::span<const std::byte> body) {
  if (type == kRecordSettled) {
    v1::Settled message;
    if (!parse(body, message)) return corrupt("not a Settled");
    Boot* boot = find(message.boot());
    if (boot == nullptr) return {};
    for (const auto& range : message.seqs()) {
      if (range.first() == 0 || range.last() >= kSeqMax) return corrupt("Settled: a seq is wrong");
      boot->gone.add(range.first(), std::min(range.last(), boot->next_seq - 1));
    }
  } else if (type == kRecordBegun) {
    v1::BootState message;
    if (!parse(body, message) || message.boot() == 0) return corrupt("not a Begun");
    return read_boot(message, find_or_add(message.boot()));
  } else if (type == kRecordPendingGap) {
    v1::Gap message;
    Gap gap;
    if (body.size() < 8 || !parse(body.subspan(8), message) || !read_gap(message, &gap)) {
      return corrupt("not a PendingGap");
    }
    uint64_t id = 0;
    for (size_t i = 0; i < 8; ++i) id |= static_cast<uint64_t>(body[i]) << (8 * i);
    if (id == 0) return corrupt("PendingGap without a boot");
    find_or_add(id).pending.add(gap);
  }
  return {};  // unknown types are skipped
}

Status SpoolState::apply_parcel(const ParcelFacts& facts, const Digest& digest, SpoolFile& file) {
  Boot& boot = find_or_add(facts.boot);
  if (boot.started_ms == 0) boot.started_ms = facts.created_ms;
  if (facts.seq < boot.next_seq && boot.gone.contains(facts.seq)) return {};
  if (auto status = facts.declare_into(*boot.series); !status) return status;
  const auto cover = [&](const Run& run) {
    if (!boot.series->reach(run.ref)) return;
    uint64_t& covered = boot.series->at(run.ref).covered;
    if (run.first < covered) file.reaches_back = true;
    if (run.first > covered) boot.pending.add({{run.ref, covered, run.first - covered}, GapReason::kCorrupt});
    covered = std::max(covered, run.first + run.count);
    boot.pending.subtract(run);
  };
  for (const Run& run : facts.runs) cover(run);
  for (const Gap& gap : facts.gaps) {
    cover(gap.run);
    boot.named.add(gap);
  }
  if (facts.seq > boot.next_seq) boot.gone.add(boot.next_seq, facts.seq - 1);  // the parcels between were lost
  if (facts.seq >= boot.next_seq) {
    boot.next_seq = facts.seq + 1;
    boot.last_digest = digest;
    boot.has_digest = true;
  }
  file.add(facts.boot, facts.seq);
  file.newest_ms = std::max(file.newest_ms, facts.created_ms);
  file.points_left += facts.points;
  return {};
}

bool SpoolState::finished(const SpoolFile& file) const {
  for (const FileRun& run : file.runs) {
    for (const auto& boot : boots_) {
      if (boot->id == run.boot && !boot->gone.contains_all(run.first_seq, run.last_seq)) return false;
    }
  }
  return true;
}

std::vector<std::byte> encode_settled(uint64_t boot, const SeqSet& seqs) {
  v1::Settled message;
  message.set_boot(boot);
  for (const auto& [first, last] : seqs.runs()) {
    auto* range = message.add_seqs();
    range->set_first(first);
    range->set_last(last);
  }
  return encode(message);
}

std::vector<std::byte> encode_begun(const Boot& boot) {
  v1::BootState message;
  write_head(boot, message);
  return encode(message);
}

std::vector<std::byte> encode_pending_gap(uint64_t boot, const Gap& gap) {
  v1::Gap message;
  write_gap(gap, message);
  const auto bytes = encode(message);
  std::vector<std::byte> out;
  for (size_t i = 0; i < 8; ++i) out.push_back(static_cast<std::byte>(boot >> (8 * i)));
  out.insert(out.end(), bytes.begin(), bytes.end());
  return out;
}

const Covers::OfBoot* Covers::find(uint64_t boot) const {
  for (const OfBoot& of : boots) {
    if (of.boot == boot) return &of;
  }
  return nullptr;
}

Result<bool> checkpoint_goes_on(std::span<const std::byte> body) {
  v1::Checkpoint message;
  if (!parse(body, message)) return corrupt("not a Checkpoint");
  return message.more();
}

Status add_covers(std::span<const std::byte> body, Covers& covers) {
  v1::Checkpoint message;
  if (!parse(body, message)) return corrupt("not a Checkpoint");
  for (const auto& in : message.boots()) {
    auto found = std::find_if(covers.boots.begin(), covers.boots.end(), [&](auto& of) { return of.boot == in.boot(); });
    if (found == covers.boots.end()) found = covers.boots.insert(found, {in.boot(), {}});
    for (const auto& covered : in.covered()) {
      if (covered.ref() >= (1u << 20)) return corrupt("Checkpoint: a ref is too large");
      if (covered.ref() >= found->next.size()) found->next.resize(covered.ref() + 1, 0);
      found->next[covered.ref()] = covered.next_ordinal();
    }
  }
  return {};
}

}  // namespace lambda::agent
