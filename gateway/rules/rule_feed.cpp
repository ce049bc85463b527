#include "gateway/rules/rule_feed.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/record/record.h"
#include "cep/language/shape.h"
#include "cep/stream/snapshot.h"
#include "gateway/rules/rule_json.h"
#include "gateway/store/record_body.h"
#include "lambda/codecs.h"
#include "query/json.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kSecondMs = 1'000;
constexpr int64_t kTimeMsMax = int64_t{1} << 56;  // so that an offset can be added
constexpr size_t kBatchRows = 1024;
constexpr uint64_t kHashPrime = 0x100000001B3;  // FNV-1a's

double to_number(const BlockInfo& info, uint64_t bits) {
  if (info.type == ValueType::kF64) return std::bit_cast<double>(bits);
  if (info.type == ValueType::kF32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  const auto number = static_cast<double>(static_cast<int64_t>(bits));
  return info.type == ValueType::kDec ? number / std::pow(10.0, std::min(info.scale, kScaleMax)) : number;
}

int64_t whole_second(int64_t ms) {
  const int64_t rest = ms % kSecondMs;
  return ms - (rest < 0 ? rest + kSecondMs : rest);
}

bool may_be_clock(int64_t ms) {
  return ms > -kTimeMsMax && ms < kTimeMsMax;
}

}  // namespace

struct RuleFeed::Column {
  std::vector<double> numbers;
  std::vector<cep::Symbol> texts;
  std::vector<uint8_t> nulls;
};

RuleFeed::RuleFeed(Disk& disk, RuleFeedSettings settings) : disk_(disk), settings_(std::move(settings)) {
  make_set({});
}

RuleFeed::~RuleFeed() = default;

void RuleFeed::make_set(const RuleFolder& folder) {
  set_ = make_rule_set(folder, settings_.rules, [this](std::span<const cep::Output> outputs) { take(outputs); });
  facts_.clear();
  const cep::Engine& engine = *set_->engine;
  for (cep::RuleId id = 0; id < engine.rule_count(); ++id) {
    const cep::RulePlan& plan = engine.rule(id);
    auto facts = std::make_shared<RuleFacts>();
    facts->name = plan.name;
    facts->file = set_->file_of_rule[id];
    facts->actions = plan.actions;
    facts->shape = shape_of(plan, engine.catalog(), set_->engine->symbols());
    // With other labels it is another alert for those who are told.
    std::set<std::string> labels;
    for (const size_t item : set_->key_items[id]) labels.insert(plan.items[item].name);
    for (const std::string& label : labels) {
      for (const char c : label) facts->shape = (facts->shape ^ static_cast<uint8_t>(c)) * kHashPrime;
      facts->shape = (facts->shape ^ 0xFF) * kHashPrime;
    }
    facts->prints = plan.prints;
    facts->alert = plan.alert.has_value();
    facts->for_ms = plan.alert && plan.alert->for_ms ? *plan.alert->for_ms : 0;
    facts_.push_back(std::move(facts));
  }
  reader_of_.clear();
  for (size_t i = 0; i < set_->streams.size(); ++i) reader_of_[set_->streams[i].metric] = static_cast<int>(i);
}

std::vector<RuleFileState> RuleFeed::check(const RuleFolder& folder) const {
  return make_rule_set(folder, settings_.rules, [](std::span<const cep::Output>) {})->files;
}

void RuleFeed::set_rules(const RuleFolder& folder) {
  // Rows that wait go on waiting: what is still to come of their time would be late for those given now.
  cep::Symbols none;
  cep::StateWriter rows(none);
  save_rows(rows);
  drop_rows();
  const bool had_rules = set_->engine->rule_count() > 0;
  const std::string state = had_rules ? set_->engine->snapshot() : "";
  folder_ = folder;
  make_set(folder_);
  if (had_rules && !set_->engine->restore(state)) {
    counters_.begun_anew++;
    make_set(folder_);
  }
  forget_series();
  const std::string words = rows.finish();
  auto waiting = cep::StateReader::open(words, none);
  LAMBDA_ASSERT(waiting);
  restore_rows(*waiting);
  if (clock_ms_ != INT64_MIN) set_->engine->advance_clock(clock_ms_);
}

void RuleFeed::begin_anew() {
  counters_.begun_anew++;
  release(INT64_MAX);
  make_set(folder_);
  forget_series();
  clock_ms_ = INT64_MIN;
}

// What was given of them by the live lane must not be given again by a block; but series whose blocks never come must
// not fill the table for ever.
void RuleFeed::forget_series() {
  LAMBDA_ASSERT(groups_.empty());
  uint64_t lively = 0;
  for (const auto& [key, boot] : boots_) {
    lively += static_cast<uint64_t>(
        std::ranges::count_if(boot.series, [](const auto& entry) { return !entry.second.live.empty(); }));
  }
  if (lively > settings_.series_max / 2) boots_.clear();
  for (auto boot = boots_.begin(); boot != boots_.end();) {
    std::erase_if(boot->second.series, [](const auto& entry) { return entry.second.live.empty(); });
    boot = boot->second.series.empty() ? boots_.erase(boot) : std::next(boot);
  }
  series_count_ = 0;
  for (auto& [key, boot] : boots_) {
    boot.clocks_known = false;
    for (auto& [ref, series] : boot.series) series.reader = -2;  // to be asked for
    series_count_ += boot.series.size();
  }
}

RuleFeed::Boot& RuleFeed::boot_of(const std::string& device, uint64_t boot) {
  return boots_[{device, boot}];
}

void RuleFeed::bind(Series& series, const std::string& device, const std::string& name,
                    const std::vector<std::pair<std::string, std::string>>& labels) {
  const auto found = reader_of_.find(name);
  series.reader = found == reader_of_.end() ? -1 : found->second;
  series.columns.clear();
  if (series.reader < 0) return;
  const StreamColumns& stream = set_->streams[static_cast<size_t>(series.reader)];
  cep::Engine& engine = *set_->engine;
  const auto& schema = engine.catalog().stream(stream.stream).columns;
  series.no_room = false;
  const auto text = [&engine, &series](const std::string& value) {
    const auto symbol = engine.symbols().try_intern(value);
    if (!symbol) series.no_room = true;
    return symbol ? cep::Value::of_text(*symbol) : cep::Value::null();
  };
  for (size_t i = 0; i < stream.from.size(); ++i) {
    cep::Value value = cep::Value::null();
    if (stream.from[i] == ColumnFrom::kDevice) value = text(device);
    if (stream.from[i] == ColumnFrom::kSite) value = text(settings_.site);
    if (stream.from[i] == ColumnFrom::kLabel) {
      const auto label = std::ranges::find(labels, schema[i].name, [](const auto& pair) { return pair.first; });
      if (label != labels.end()) value = text(label->second);
    }
    series.columns.push_back(value);
  }
}

void RuleFeed::answer(const SeriesAnswer& answer) {
  Boot& boot = boot_of(answer.device, answer.boot);
  for (const auto& [ref, known] : answer.series) {
    const auto [entry, fresh] = boot.series.try_emplace(ref);
    series_count_ += fresh ? 1 : 0;
    entry->second.reader = -1;
    if (known) bind(entry->second, answer.device, known->name, known->labels);
  }
  for (const ClockView& clock : answer.clocks) boot.clocks[clock.segment] = clock;
  boot.clocks_known = true;
}

Result<SeriesQuestion> RuleFeed::read(const std::vector<ArrivalsPiece>& pieces) {
  SeriesQuestion question;
  uint64_t bytes = 0;
  for (const ArrivalsPiece& piece : pieces) {
    const StorePlace begin{piece.segment, piece.begin}, end{piece.segment, piece.end};
    if (end <= position_) continue;
    if (set_->streams.empty()) {  // nobody would look at it
      position_ = end;
      continue;
    }
    bool stopped = false;
    const uint64_t from = std::max(begin, position_).offset;
    const auto scanned = scan_records(
        disk_, piece.path, from,
        [&](const RecordView& view) {
          if (view.offset >= piece.end) return false;
          const uint64_t after = view.offset + kRecordHeadBytes + view.body.size();
          if (view.type == static_cast<uint8_t>(SegmentRecord::kStoredParcel)) {
            const auto parcel = parse_stored_parcel(view.body);
            if (parcel) {
              if (!record(*parcel, &question)) {
                stopped = true;
                return false;
              }
            } else {
              counters_.damaged_records++;
            }
          }
          counters_.records++;
          position_ = {piece.segment, after};
          bytes += after - view.offset;
          stopped = bytes >= settings_.piece_bytes_max || outputs_.size() >= settings_.outputs_max;
          return !stopped;
        },
        HeaderRule::kMayBeDamaged);
    if (!scanned) {
      counters_.read_errors++;
      return tl::unexpected(scanned.error());
    }
    counters_.damaged_records += scanned->damage_count;
    if (stopped) return question;
    position_ = end;
  }
  return question;
}

// False: `question` must be answered first.
bool RuleFeed::record(const ParcelRecord& parcel, SeriesQuestion* question) {
  if (!may_be_clock(parcel.received_ms)) return true;
  Boot& boot = boot_of(parcel.device, parcel.boot);
  for (const Declared& declared : parcel.declarations) {
    const auto [entry, fresh] = boot.series.try_emplace(declared.ref);
    series_count_ += fresh ? 1 : 0;
    if (fresh || entry->second.reader == -2) bind(entry->second, parcel.device, declared.name, declared.labels);
  }
  for (const ClockView& clock : parcel.clocks) boot.clocks[clock.segment] = clock;
  for (const StoredBlock& stored : parcel.blocks) {
    const auto known = boot.series.find(stored.info.ref);
    if ((known == boot.series.end() || known->second.reader == -2) &&
        std::ranges::find(question->refs, stored.info.ref) == question->refs.end()) {
      question->refs.push_back(stored.info.ref);
    }
  }
  if (!question->refs.empty() || (!boot.clocks_known && !parcel.blocks.empty())) {
    question->device = parcel.device;
    question->boot = parcel.boot;
    return false;
  }
  release(parcel.received_ms);
  std::vector<Row> rows;
  for (const StoredBlock& stored : parcel.blocks) block(parcel, boot, stored, rows);
  gather(parcel.device, parcel.received_ms, rows);
  if (series_count_ > settings_.series_max) {
    counters_.series_forgotten += series_count_;
    release(INT64_MAX);
    forget_series();
  }
  return true;
}

void RuleFeed::block(const ParcelRecord& parcel, Boot& boot, const StoredBlock& stored, std::vector<Row>& rows) {
  Series& series = boot.series.find(stored.info.ref)->second;
  if (series.reader < 0) {
    counters_.blocks_passed++;
    return;
  }
  int64_t offset_ms = 0;
  if (const auto clock = boot.clocks.find(stored.info.clock); clock != boot.clocks.end()) {
    if (!clock->second.known && clock->second.relative) {
      counters_.timeless += stored.info.count;
      return;
    }
    offset_ms = clock->second.known ? clock->second.offset_ms : 0;
  }
  BlockInfo info;
  std::vector<Point> points(stored.info.count);
  if (!may_be_clock(offset_ms) || !decode_block(stored.bytes, parcel.boot, &info, points, kAllCodings).ok()) {
    counters_.undecodable++;
    return;
  }
  counters_.blocks_decoded++;
  for (const OrdinalRun& accepted : stored.accepted) {
    for (const OrdinalRun& run : series.live.missing(accepted.first, accepted.end)) {
      for (uint64_t ordinal = run.first; ordinal < run.end; ++ordinal) {
        const Point& point = points[ordinal - info.first_ordinal];
        const double value = to_number(info, point.bits);
        if (!may_be_clock(point.time_ms) || query::is_stale(value)) continue;
        if (series.no_room) {
          refuse(series, point.time_ms + offset_ms);
          continue;
        }
        rows.push_back({point.time_ms + offset_ms, parcel.received_ms, value, static_cast<uint32_t>(series.reader),
                        &series.columns});
      }
    }
    series.blocks_end = std::max(series.blocks_end, accepted.end);
    // A block brings each ordinal once: what was given live of it need not be remembered.
    if (series.live.intersects(accepted.first, accepted.end)) {
      RunSet rest;
      for (const OrdinalRun& run : series.live.runs()) {
        if (run.first < accepted.first) rest.add(run.first, std::min(run.end, accepted.first));
        if (run.end > accepted.end) rest.add(std::max(run.first, accepted.end), run.end);
      }
      series.live = std::move(rest);
    }
  }
}

// A point of which a label found no room: the rules that read its stream say so.
void RuleFeed::refuse(const Series& series, int64_t t) {
  counters_.texts_refused++;
  set_->engine->text_refused(set_->streams[static_cast<size_t>(series.reader)].stream, t, next_index_++);
}

void RuleFeed::gather(const std::string& device, int64_t at, std::span<const Row> rows) {
  if (rows.empty()) return;
  const auto [group, fresh] = groups_.try_emplace(device, Group{at, {}});
  if (fresh) waiting_.emplace(at, device);
  group->second.rows.insert(group->second.rows.end(), rows.begin(), rows.end());
  gathered_ += rows.size();
  while (gathered_ > settings_.gather_rows_max) {
    counters_.gather_early++;
    release(waiting_.begin()->first + settings_.gather_ms);
  }
}

// Gives what was gathered for long enough, the oldest first.
void RuleFeed::release(int64_t reached_ms) {
  while (!waiting_.empty() && reached_ms >= waiting_.begin()->first + settings_.gather_ms) {
    give(groups_.extract(waiting_.begin()->second));
  }
}

void RuleFeed::give(std::map<std::string, Group>::node_type one) {
  Group& group = one.mapped();
  waiting_.erase({group.first_at, one.key()});
  gathered_ -= group.rows.size();
  // Ticks come no further before this group; where there were none, as when it is read again, time goes as far.
  move_clock(whole_second(group.first_at));
  give_rows(group.rows);
}

void RuleFeed::give_rows(std::vector<Row>& rows) {
  std::ranges::stable_sort(
      rows, [](const Row& a, const Row& b) { return std::tie(a.t, a.reader) < std::tie(b.t, b.reader); });
  for (size_t begin = 0; begin < rows.size();) {
    size_t end = begin + 1;
    while (end < rows.size() && end - begin < kBatchRows && rows[end].reader == rows[begin].reader) ++end;
    push(&rows[begin], end - begin);
    begin = end;
  }
}

void RuleFeed::push(const Row* rows, size_t count) {
  const StreamColumns& stream = set_->streams[rows[0].reader];
  const size_t width = stream.from.size();
  if (columns_.size() < width) columns_.resize(width);
  t_.clear();
  at_.clear();
  for (size_t c = 0; c < width; ++c) {
    columns_[c].numbers.clear();
    columns_[c].texts.clear();
    columns_[c].nulls.clear();
  }
  for (size_t i = 0; i < count; ++i) {
    t_.push_back(rows[i].t);
    at_.push_back(rows[i].at);
    clock_ms_ = std::max(clock_ms_, rows[i].at);
    for (size_t c = 0; c < width; ++c) {
      if (stream.from[c] == ColumnFrom::kValue) {
        columns_[c].numbers.push_back(rows[i].value);
      } else {
        const cep::Value& value = (*rows[i].columns)[c];
        columns_[c].texts.push_back(value.is_null() ? 0 : value.text);
        columns_[c].nulls.push_back(value.is_null() ? 1 : 0);
      }
    }
  }
  batch_.stream = stream.stream;
  batch_.rows = count;
  batch_.first_index = next_index_;
  batch_.t = t_.data();
  batch_.at = at_.data();
  batch_.columns.clear();
  for (size_t c = 0; c < width; ++c) {
    if (stream.from[c] == ColumnFrom::kValue) {
      batch_.columns.push_back({cep::Type::kDouble, columns_[c].numbers.data(), nullptr});
    } else {
      batch_.columns.push_back({cep::Type::kText, columns_[c].texts.data(), columns_[c].nulls.data()});
    }
  }
  next_index_ += count;
  counters_.events += count;
  set_->engine->push(batch_);
}

void RuleFeed::live(const std::vector<LivePoint>& points, int64_t now_ms) {
  for (const LivePoint& point : points) {
    auto boot = boots_.find({point.device, point.boot});
    if (boot == boots_.end() && point.series && series_count_ < settings_.series_max) {
      boot = boots_.try_emplace({point.device, point.boot}).first;
    }
    if (boot == boots_.end() || !may_be_clock(now_ms)) {
      counters_.live_unbound++;
      continue;
    }
    auto found = boot->second.series.find(point.ref);
    const bool room = series_count_ < settings_.series_max;
    if (point.series && (found == boot->second.series.end() ? room : found->second.reader == -2)) {
      if (found == boot->second.series.end()) {
        found = boot->second.series.try_emplace(point.ref).first;
        ++series_count_;
      }
      bind(found->second, point.device, point.series->name, point.series->labels);
    }
    if (found == boot->second.series.end() || found->second.reader < 0) {
      counters_.live_unbound++;
      continue;
    }
    Series& series = found->second;
    const bool known = point.ordinal < series.blocks_end || series.live.contains(point.ordinal, point.ordinal + 1);
    if (known || !may_be_clock(point.time_ms)) {
      counters_.live_known++;
      continue;
    }
    const auto& runs = series.live.runs();
    if (runs.size() >= settings_.live_runs_max && runs.back().end != point.ordinal) {
      counters_.live_left++;
      continue;
    }
    series.live.add(point.ordinal, point.ordinal + 1);
    counters_.live_events++;
    if (query::is_stale(point.value)) continue;
    if (series.no_room) {
      refuse(series, point.time_ms);
      continue;
    }
    const Row row{point.time_ms, now_ms, point.value, static_cast<uint32_t>(series.reader), &series.columns};
    gather(point.device, now_ms, {&row, 1});
  }
}

void RuleFeed::tick(int64_t now_ms) {
  if (!may_be_clock(now_ms)) return;
  release(now_ms);
  // What came before the clock was set back would wait until it is that late again.
  while (!waiting_.empty() && waiting_.rbegin()->first - kClockBackMs > now_ms) {
    give(groups_.extract(waiting_.rbegin()->second));
  }
  move_clock(whole_second(waiting_.empty() ? now_ms : std::min(now_ms, waiting_.begin()->first)));
}

int64_t RuleFeed::release_at() const {
  return waiting_.empty() ? INT64_MAX : waiting_.begin()->first + settings_.gather_ms;
}

void RuleFeed::move_clock(int64_t to_ms) {
  if (to_ms <= clock_ms_) return;
  clock_ms_ = to_ms;
  set_->engine->advance_clock(to_ms);
}

void RuleFeed::take(std::span<const cep::Output> outputs) {
  cep::Symbols& symbols = set_->engine->symbols();
  for (const cep::Output& output : outputs) {
    const cep::RulePlan& plan = set_->engine->rule(output.rule);
    RuleOutput words{facts_[output.rule], output.kind, output.late, output.t, output.on_input, {}, "{", ""};
    if (output.kind == cep::OutputKind::kLimit) {
      words.fields += "\"bound\":\"" + std::string(bound_name(output.bound)) +
                      "\",\"max\":" + std::to_string(output.max) + ",\"dropped\":" + std::to_string(output.dropped) +
                      "}";
      outputs_.push_back(std::move(words));
      continue;
    }
    for (const size_t item : set_->key_items[output.rule]) {
      std::string text = label_text(output.fields[item], symbols);
      if (!text.empty()) words.key.emplace_back(plan.items[item].name, std::move(text));
    }
    std::ranges::sort(words.key);  // the order of SELECT's items may change while it fires
    for (size_t i = 0; i < output.fields.size(); ++i) {
      if (i > 0) words.fields += ',';
      query::append_json_string(words.fields, plan.items[i].name);
      words.fields += ':';
      append_json_value(words.fields, output.fields[i], symbols);
      const bool number = output.fields[i].type == cep::Type::kDouble || output.fields[i].type == cep::Type::kInt;
      if (number && words.value.empty()) words.value = label_text(output.fields[i], symbols);
    }
    words.fields += '}';
    outputs_.push_back(std::move(words));
  }
}

}  // namespace lambda::gateway
