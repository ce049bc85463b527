// What a feed keeps over a restart.
#include <unordered_map>
#include <utility>

#include "cep/stream/snapshot.h"
#include "gateway/rules/rule_feed.h"

namespace lambda::gateway {

// ---- state: version, place, counters, series with live points, gathered rows, the engine's

std::string RuleFeed::save() const {
  const cep::Symbols none;
  cep::StateWriter out(none);
  out.u32(1);
  out.u64(position_.segment);
  out.u64(position_.offset);
  out.i64(clock_ms_);
  out.u64(next_index_);
  uint32_t lively = 0;
  for (const auto& [key, boot] : boots_) {
    for (const auto& [ref, series] : boot.series) lively += series.live.empty() ? 0 : 1;
  }
  out.u32(lively);
  for (const auto& [key, boot] : boots_) {
    for (const auto& [ref, series] : boot.series) {
      if (series.live.empty()) continue;
      out.text(key.first);
      out.u64(key.second);
      out.u32(ref);
      out.u64(series.blocks_end);
      out.text(series.live.encode());
    }
  }
  save_rows(out);
  out.text(set_->engine->rule_count() > 0 ? set_->engine->snapshot() : "");
  return out.finish();
}

// With their labels in words: other rules have other streams, and another engine other symbols.
void RuleFeed::save_rows(cep::StateWriter& out) const {
  std::unordered_map<const void*, std::pair<const BootKey*, uint32_t>> owners;  // of columns, by address
  for (const auto& [key, boot] : boots_) {
    if (groups_.empty()) break;
    for (const auto& [ref, series] : boot.series) owners[&series.columns] = {&key, ref};
  }
  out.u32(static_cast<uint32_t>(groups_.size()));
  for (const auto& [device, group] : groups_) {
    out.text(device);
    out.i64(group.first_at);
    out.u32(static_cast<uint32_t>(group.rows.size()));
    for (const Row& row : group.rows) {
      const auto& [key, ref] = owners.at(row.columns);
      out.i64(row.t);
      out.i64(row.at);
      out.f64(row.value);
      out.u64(key->second);
      out.u32(ref);
      out.text(set_->streams[row.reader].metric);
      const auto& schema = set_->engine->catalog().stream(set_->streams[row.reader].stream).columns;
      out.u32(static_cast<uint32_t>(schema.size()));
      for (size_t c = 0; c < schema.size(); ++c) {
        const cep::Value& value = (*row.columns)[c];
        out.text(schema[c].name);
        out.flag(!value.is_null());
        out.text(value.is_null() ? std::string_view() : set_->engine->symbols().text(value.text));
      }
    }
  }
}

// What no rule reads any more is left out. Of a series that is not known there are the labels that the rules before
// asked for: it will be asked for all the same.
void RuleFeed::restore_rows(cep::StateReader& in) {
  std::vector<Series*> half_known;
  for (size_t n = in.count(16); n > 0 && in.ok(); --n) {
    const std::string device = in.text();
    Group group{in.i64(), {}};
    for (size_t rows = in.count(40); rows > 0 && in.ok(); --rows) {
      Row row{};
      row.t = in.i64();
      row.at = in.i64();
      row.value = in.f64();
      const uint64_t boot = in.u64();
      const uint32_t ref = in.u32();
      const std::string metric = in.text();
      std::vector<std::pair<std::string, std::string>> labels;
      for (size_t columns = in.count(9); columns > 0 && in.ok(); --columns) {
        std::string name = in.text();
        const bool there = in.flag();
        std::string text = in.text();
        if (there) labels.emplace_back(std::move(name), std::move(text));
      }
      const auto [entry, fresh] = boot_of(device, boot).series.try_emplace(ref);
      series_count_ += fresh ? 1 : 0;
      Series& series = entry->second;
      if (fresh || series.reader == -2) {
        bind(series, device, metric, labels);
        half_known.push_back(&series);
      }
      if (series.reader < 0) continue;
      if (series.no_room) {
        counters_.texts_refused++;
        continue;
      }
      row.reader = static_cast<uint32_t>(series.reader);
      row.columns = &series.columns;
      group.rows.push_back(row);
      ++gathered_;
    }
    if (group.rows.empty()) continue;
    waiting_.emplace(group.first_at, device);
    groups_.emplace(device, std::move(group));
  }
  for (Series* series : half_known) series->reader = -2;
}

void RuleFeed::drop_rows() {
  groups_.clear();
  waiting_.clear();
  gathered_ = 0;
}

Status RuleFeed::restore(std::string_view bytes) {
  cep::Symbols none;
  auto in = cep::StateReader::open(bytes, none);
  if (!in) return tl::unexpected(in.error());
  if (in->u32() != 1) return fail(ErrorCode::kUnsupported, "the rules' state is of another version");
  const StorePlace position{in->u64(), in->u64()};
  const int64_t clock_ms = in->i64();
  const uint64_t next_index = in->u64();
  for (size_t n = in->count(24); n > 0 && in->ok(); --n) {
    const std::string device = in->text();
    const uint64_t boot = in->u64();
    const uint32_t ref = in->u32();
    Series series;
    series.reader = -2;
    series.blocks_end = in->u64();
    auto live = RunSet::decode(in->text());
    if (!live) in->refuse();
    if (live) series.live = std::move(*live);
    series_count_ += boot_of(device, boot).series.emplace(ref, std::move(series)).second ? 1 : 0;
  }
  restore_rows(*in);
  const std::string state = in->text();
  Status good;
  if (!in->ok() || !in->at_end()) good = fail(ErrorCode::kCorrupt, "the rules' state says nothing sensible");
  if (good && !state.empty()) good = set_->engine->restore(state);
  if (!good) {
    drop_rows();
    boots_.clear();
    series_count_ = 0;
    make_set(folder_);
    return good;
  }
  position_ = position;
  next_index_ = next_index;
  clock_ms_ = clock_ms;
  if (clock_ms_ != INT64_MIN) set_->engine->advance_clock(clock_ms_);
  return {};
}

}  // namespace lambda::gateway
