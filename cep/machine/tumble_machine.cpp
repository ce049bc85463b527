// Aggregates that are added up in place, from the rule's start or over TUMBLE: one flat record for each key. What needs
// more (other windows, ORDER BY, EARLY, revisions, samples) is window_machine.cpp's.
//
// A window of TUMBLE has an item at the horizon at its end or before: an item that finds a later end goes on to that.
// So events of the key's own device, which close the window on their way, leave the item where it is.
#include <algorithm>
#include <bit>
#include <cmath>

#include "cep/machine/results.h"
#include "cep/machine/row_source.h"
#include "cep/machine/window_state.h"

namespace lambda::cep {
namespace {

int64_t floor_to(int64_t t, int64_t step) {
  const int64_t rest = t % step;
  return t - (rest < 0 ? rest + step : rest);
}

// Words of an aggregate in the record: [0] is the number of values that count.
size_t words_of(AggregateKind kind) {
  switch (kind) {
    case AggregateKind::kCount:
      return 1;
    case AggregateKind::kSum:  // count, sum, overflow
    case AggregateKind::kStddev:
    case AggregateKind::kDelta:
      return 3;
    default:
      return 2;
  }
}

bool is_flat(const AggregatePlan& plan) {
  switch (plan.kind) {
    case AggregateKind::kCount:
    case AggregateKind::kSum:
    case AggregateKind::kAvg:
    case AggregateKind::kStddev:
    case AggregateKind::kFirst:
    case AggregateKind::kLast:
      return true;
    case AggregateKind::kMin:
    case AggregateKind::kMax:
    case AggregateKind::kDelta:
      return plan.argument.type() == Type::kInt || plan.argument.type() == Type::kDouble;
    default:
      return false;
  }
}

double as_double(uint64_t word) {
  return std::bit_cast<double>(word);
}
uint64_t as_word(double x) {
  return std::bit_cast<uint64_t>(x);
}

// As Accumulator::add() does, with the same sums in the same order.
void add_value(uint64_t* words, AggregateKind kind, const Value& value) {
  if (value.is_null()) {
    return;
  }
  switch (kind) {
    case AggregateKind::kCount:
      break;
    case AggregateKind::kSum:
      if (value.type == Type::kInt) {
        int64_t sum = 0;
        words[2] |= __builtin_add_overflow(static_cast<int64_t>(words[1]), value.i, &sum) ? 1u : 0u;
        words[1] = static_cast<uint64_t>(sum);
      } else {
        words[1] = as_word(as_double(words[1]) + value.d);
      }
      break;
    case AggregateKind::kAvg:
      words[1] = as_word(as_double(words[1]) + value.number());
      break;
    case AggregateKind::kMin:
    case AggregateKind::kMax: {
      if (value.type == Type::kDouble && std::isnan(value.d)) {
        return;
      }
      const bool low = kind == AggregateKind::kMin;
      const bool better =
          value.type == Type::kInt
              ? (low ? value.i < static_cast<int64_t>(words[1]) : value.i > static_cast<int64_t>(words[1]))
              : (low ? value.d < as_double(words[1]) : value.d > as_double(words[1]));
      words[1] = words[0] == 0 || better ? value.bits : words[1];
      break;
    }
    case AggregateKind::kStddev: {  // Welford's
      const double off = value.number() - as_double(words[1]);
      const double mean = as_double(words[1]) + off / static_cast<double>(words[0] + 1);
      words[1] = as_word(mean);
      words[2] = as_word(as_double(words[2]) + off * (value.number() - mean));
      break;
    }
    case AggregateKind::kFirst:
      words[1] = words[0] == 0 ? value.bits : words[1];
      break;
    case AggregateKind::kDelta:
      words[1] = words[0] == 0 ? value.bits : words[1];
      words[2] = value.bits;
      break;
    default:  // kLast
      words[1] = value.bits;
      break;
  }
  ++words[0];
}

Value with_type(Type type, uint64_t bits) {
  Value value;
  value.type = type;
  value.bits = bits;
  return value;
}

Value result_of(const uint64_t* words, const AggregatePlan& plan) {
  if (plan.kind == AggregateKind::kCount) {
    return Value::of_int(static_cast<int64_t>(words[0]));
  }
  if (words[0] == 0) {
    return Value::null();
  }
  const Type type = plan.argument.type();
  switch (plan.kind) {
    case AggregateKind::kSum:
      return words[2] != 0 ? Value::null() : with_type(type, words[1]);
    case AggregateKind::kAvg:
      return Value::of_double(as_double(words[1]) / static_cast<double>(words[0]));
    case AggregateKind::kStddev:
      return Value::of_double(std::sqrt(as_double(words[2]) / static_cast<double>(words[0])));
    case AggregateKind::kDelta: {
      if (type == Type::kDouble) {
        return Value::of_double(as_double(words[2]) - as_double(words[1]));
      }
      int64_t out = 0;
      const bool bad = __builtin_sub_overflow(static_cast<int64_t>(words[2]), static_cast<int64_t>(words[1]), &out);
      return bad ? Value::null() : Value::of_int(out);
    }
    default:
      return with_type(type, words[1]);
  }
}

class TumbleMachine final : public Machine {
 public:
  TumbleMachine(const RuleContext& context, Results& results)
      : context_(context),
        plan_(*context.plan.window),
        tumbles_(plan_.kind.has_value()),
        keys_(context.plan.keys.size()),
        source_(context),
        results_(results),
        group_row_(keys_ + plan_.aggregates.size() + 2) {
    size_t words = kAggregates;
    for (const AggregatePlan& aggregate : plan_.aggregates) {
      offsets_.push_back(static_cast<uint32_t>(words));
      words += words_of(aggregate.kind);
    }
    stride_ = words;
  }

  void on_event(const Event& event, const Moment& moment) override;
  void on_item(const Item& item, const Moment& moment) override;
  bool takes_rows() const override {
    return (!tumbles_ || context_.by_device) && !context_.plan.table && !has_timers(context_.plan);
  }
  void on_rows(const Rows& rows) override;
  int64_t steps_over(int64_t t) const override { return floor_to(t, plan_.size) + plan_.size; }
  bool is_idle(KeyId key) const override { return tumbles_ && (key >= records() || !is_open(record(key))); }
  void reset(KeyId key) override {
    if (key < records()) {
      uint64_t* words = record(key);
      open_ -= is_open(words) ? 1 : 0;
      std::fill_n(words, stride_, 0);
    }
  }
  void renumber(std::span<const KeyId> now) override {
    renumber_by_key(words_, now, stride_);
    count_ = words_.size() / stride_;
  }
  size_t state_bytes() const override {
    return records() * kGroupBytes + open_ * (kWindowBytes + plan_.aggregates.size() * kAccumulatorBytes);
  }
  void save(StateWriter& out) const override;
  void load(StateReader& in) override;

 private:
  // Words of a record; the aggregates' follow.
  enum Word : size_t { kFlags, kEnd, kAggregates };
  enum Flag : uint64_t { kOpen = 1, kQueued = 2 };  // kQueued: an item is on its way

  size_t records() const { return count_; }
  uint64_t* record(KeyId key) { return words_.data() + size_t{key} * stride_; }
  const uint64_t* record(KeyId key) const { return words_.data() + size_t{key} * stride_; }
  static bool is_open(const uint64_t* words) { return (words[kFlags] & kOpen) != 0; }
  static int64_t end_of(const uint64_t* words) { return static_cast<int64_t>(words[kEnd]); }
  void grow(KeyId key) {
    if (count_ <= key) {
      count_ = std::max<size_t>(key + 1, context_.keys.id_end());
      words_.resize(count_ * stride_);
    }
  }
  bool open(KeyId key, const Moment& moment);
  void close(KeyId key, const Moment& end);
  void close_at(KeyId key, const Rows& rows, uint32_t row);
  void queue(KeyId key, int64_t end);
  void say(KeyId key, const Moment& moment, const Frames& frames);
  void say_row(KeyId key, const Moment& moment, const Rows* rows, uint32_t row);
  KeyId find_or_add(const Rows& rows, uint32_t row);
  void take_row(KeyId key, const Rows& rows, uint32_t row, size_t index);
  Value slot(KeyId key, const uint64_t* words, uint32_t slot) const;

  const RuleContext& context_;
  const WindowPlan& plan_;
  const bool tumbles_;
  const size_t keys_;
  RowSource source_;
  Results& results_;
  std::vector<Value> group_row_;
  std::vector<uint32_t> offsets_;  // of each aggregate in a record
  size_t stride_ = 0;
  size_t count_ = 0;
  std::vector<uint64_t> words_;  // records by key
  size_t open_ = 0;
  // Of on_rows(): where the values of each aggregate come from.
  struct Source {
    const ColumnView* column = nullptr;  // null: arguments_, or nowhere for count(*)
    const double* doubles = nullptr;     // sum and avg of a column without nulls
  };
  std::vector<Source> sources_;
  std::vector<ColumnValues> arguments_;
  std::vector<Value> event_row_;
};

// ---- one event

void TumbleMachine::on_event(const Event& event, const Moment& moment) {
  const auto row = source_.admit(event, moment);
  if (!row) {
    return;
  }
  if (row->is_new_key) {
    reset(row->key);
    results_.reset(row->key, moment);
  }
  grow(row->key);
  if (is_open(record(row->key)) || open(row->key, moment)) {
    uint64_t* words = record(row->key);
    for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
      const Program& argument = plan_.aggregates[i].argument;
      add_value(words + offsets_[i], plan_.aggregates[i].kind,
                argument.empty() ? Value::of_bool(true) : context_.evaluator.value(argument, row->frames));
    }
    if (!tumbles_) {
      say(row->key, moment, row->frames);
    }
  }
  context_.keys.set_idle(row->key, is_idle(row->key) && results_.is_idle(row->key));
}

// False: there is no room.
bool TumbleMachine::open(KeyId key, const Moment& moment) {
  if (!context_.may_hold_more(state_bytes(), moment)) {
    return false;
  }
  uint64_t* words = record(key);
  std::fill(words + kAggregates, words + stride_, 0);
  words[kFlags] |= kOpen;
  ++open_;
  if (tumbles_) {
    const int64_t end = floor_to(moment.t, plan_.size) + plan_.size;
    words[kEnd] = static_cast<uint64_t>(end);
    if ((words[kFlags] & kQueued) == 0) {
      words[kFlags] |= kQueued;
      queue(key, end);
    }
  }
  return true;
}

void TumbleMachine::queue(KeyId key, int64_t end) {
  context_.host.at_horizon(context_.work(key, end, Place::kWindowEnd, Rank::kAbsence));
}

void TumbleMachine::on_item(const Item& item, const Moment& moment) {
  if (item.key >= records()) {
    return;
  }
  uint64_t* words = record(item.key);
  if (is_open(words) && end_of(words) > item.time) {
    queue(item.key, end_of(words));
    return;
  }
  words[kFlags] &= ~uint64_t{kQueued};
  if (is_open(words)) {
    close(item.key, moment);
  }
}

void TumbleMachine::close(KeyId key, const Moment& end) {
  record(key)[kFlags] &= ~uint64_t{kOpen};
  --open_;
  say(key, end, {});
}

// On the way of an event of the device.
void TumbleMachine::close_at(KeyId key, const Rows& rows, uint32_t row) {
  Moment end = rows.moment(row);
  end.t = end_of(record(key));
  end.place = Place::kWindowEnd;
  end.arrival = 0;
  end.on_input = -1;
  context_.host.set_line(row);
  if (results_.plain_items().empty()) {
    close(key, end);
    return;
  }
  record(key)[kFlags] &= ~uint64_t{kOpen};
  --open_;
  say_row(key, end, nullptr, 0);
}

// ---- rows

Value TumbleMachine::slot(KeyId key, const uint64_t* words, uint32_t slot) const {
  if (slot < keys_) {
    return context_.keys.values(key)[slot];
  }
  if (slot < plan_.start_slot(keys_)) {
    const size_t aggregate = slot - keys_;
    return result_of(words + offsets_[aggregate], plan_.aggregates[aggregate]);
  }
  if (!tumbles_) {
    return Value::of_int(slot == plan_.start_slot(keys_) ? kTimeMin : kTimeMax);
  }
  return Value::of_int(end_of(words) - (slot == plan_.start_slot(keys_) ? plan_.size : 0));
}

void TumbleMachine::say(KeyId key, const Moment& moment, const Frames& event) {
  const uint64_t* words = record(key);
  for (uint32_t i = 0; i < group_row_.size(); ++i) {
    group_row_[i] = slot(key, words, i);
  }
  Frames frames = event;
  frames[Frame::kGroup] = group_row_.data();
  results_.row(moment, key, frames);
}

// The same for items that are plain loads, without the detour through frames.
void TumbleMachine::say_row(KeyId key, const Moment& moment, const Rows* rows, uint32_t row) {
  const auto items = results_.plain_items();
  Value* fields = context_.host.row(moment, key, items.size());
  if (fields == nullptr) {
    return;
  }
  const uint64_t* words = record(key);
  for (const Node& item : items) {
    *fields++ = item.a == static_cast<uint16_t>(Frame::kGroup) ? slot(key, words, item.immediate)
                                                               : rows->columns[item.immediate].at(row);
  }
}

// ---- many events

void TumbleMachine::on_rows(const Rows& rows) {
  const auto passing = source_.passing(rows);
  sources_.resize(plan_.aggregates.size());
  arguments_.resize(plan_.aggregates.size());
  for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
    const AggregatePlan& plan = plan_.aggregates[i];
    sources_[i] = {};
    if (is_event_column(plan.argument)) {
      sources_[i].column = &rows.columns[plan.argument.nodes[0].immediate];
      const bool adds = plan.kind == AggregateKind::kSum || plan.kind == AggregateKind::kAvg;
      if (adds && sources_[i].column->type == Type::kDouble && sources_[i].column->nulls == nullptr) {
        sources_[i].doubles = static_cast<const double*>(sources_[i].column->data);
      }
    } else if (!plan.argument.empty()) {
      context_.columns.evaluate(plan.argument, rows, passing, arguments_[i]);
    }
  }
  const std::span<const uint32_t> at = tumbles_ ? rows.at : passing;
  const std::vector<KeyId>& known = source_.known_keys(rows, at);
  size_t next = 0;
  for (size_t i = 0; i < at.size(); ++i) {
    constexpr size_t kAhead = 8;  // records are all over the memory
    if (i + kAhead < at.size() && known[i + kAhead] < records()) {
      __builtin_prefetch(record(known[i + kAhead]), 1);
    }
    const uint32_t row = at[i];
    KeyId key = source_.still_known() ? known[i] : kNoKey;
    if (next < passing.size() && passing[next] == row) {
      if (key == kNoKey) {
        key = find_or_add(rows, row);
      }
      if (key != kNoKey) {
        take_row(key, rows, row, next);
      }
      ++next;
      continue;
    }
    // Its time closes the window of its device all the same.
    if (key == kNoKey) {
      key = source_.find_key(rows, row).value_or(kNoKey);
    }
    if (key < records() && is_open(record(key)) && end_of(record(key)) <= rows.t[row]) {
      close_at(key, rows, row);
      context_.keys.set_idle(key, results_.is_idle(key));
    }
  }
}

KeyId TumbleMachine::find_or_add(const Rows& rows, uint32_t row) {
  const auto found = source_.key_of(rows, row);
  if (found && found->is_new) {
    reset(found->id);
    context_.host.set_line(row);
    results_.reset(found->id, rows.moment(row));
  }
  return found ? found->id : kNoKey;
}

// `index`: of the row among those that pass.
void TumbleMachine::take_row(KeyId key, const Rows& rows, uint32_t row, size_t index) {
  grow(key);
  uint64_t* words = record(key);
  if (!is_open(words) || (tumbles_ && end_of(words) <= rows.t[row])) {
    if (is_open(words)) {
      close_at(key, rows, row);
    }
    context_.host.set_line(row);
    const bool opened = open(key, rows.moment(row));
    context_.keys.set_idle(key, is_idle(key) && results_.is_idle(key));
    if (!opened) {
      return;
    }
  }
  for (size_t i = 0; i < sources_.size(); ++i) {
    uint64_t* aggregate = words + offsets_[i];
    const Source& source = sources_[i];
    if (source.doubles != nullptr) {
      ++aggregate[0];
      aggregate[1] = as_word(as_double(aggregate[1]) + source.doubles[row]);
      continue;
    }
    const AggregatePlan& plan = plan_.aggregates[i];
    add_value(aggregate, plan.kind,
              source.column != nullptr ? source.column->at(row)
              : plan.argument.empty()  ? Value::of_bool(true)
                                       : arguments_[i].at(index));
  }
  if (tumbles_) {
    return;
  }
  context_.host.set_line(row);
  if (!results_.plain_items().empty()) {
    say_row(key, rows.moment(row), &rows, row);
    return;
  }
  event_row_.resize(rows.columns.size());
  rows.read(row, event_row_.data());
  Frames frames;
  frames[Frame::kEvent] = event_row_.data();
  say(key, rows.moment(row), frames);
}

// ---- state

void TumbleMachine::save(StateWriter& out) const {
  out.u32(static_cast<uint32_t>(records()));
  for (KeyId key = 0; key < records(); ++key) {
    const uint64_t* words = record(key);
    out.u8(static_cast<uint8_t>(words[kFlags]));
    if (!is_open(words)) {
      continue;
    }
    out.u64(words[kEnd]);
    for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
      const AggregatePlan& plan = plan_.aggregates[i];
      const bool extreme = plan.kind == AggregateKind::kFirst || plan.kind == AggregateKind::kLast;
      const uint64_t* first = words + offsets_[i];
      out.u64(first[0]);
      for (size_t word = 1; word < words_of(plan.kind); ++word) {
        if (extreme && first[0] != 0) {
          out.value(with_type(plan.argument.type(), first[word]));  // may be TEXT
        } else {
          out.u64(first[word]);
        }
      }
    }
  }
}

void TumbleMachine::load(StateReader& in) {
  count_ = in.count(1);
  words_.assign(count_ * stride_, 0);
  open_ = 0;
  for (KeyId key = 0; key < records() && in.ok(); ++key) {
    uint64_t* words = record(key);
    words[kFlags] = in.u8();
    if (!is_open(words)) {
      continue;
    }
    ++open_;
    words[kEnd] = in.u64();
    for (size_t i = 0; i < plan_.aggregates.size(); ++i) {
      const AggregatePlan& plan = plan_.aggregates[i];
      const bool extreme = plan.kind == AggregateKind::kFirst || plan.kind == AggregateKind::kLast;
      uint64_t* first = words + offsets_[i];
      first[0] = in.u64();
      for (size_t word = 1; word < words_of(plan.kind); ++word) {
        first[word] = extreme && first[0] != 0 ? in.value().bits : in.u64();
      }
    }
  }
}

}  // namespace

bool tumbles_flat(const RulePlan& plan) {
  // Events that wait may be let go early, out of order (47): then a key needs more than one window.
  const bool waits = plan.options.lateness_ms > 0 || plan.horizon == HorizonClass::kSite;
  const bool window = plan.window && (!plan.window->kind || (*plan.window->kind == ast::WindowKind::kTumble && !waits));
  return window && plan.order_by.empty() && !plan.limit && plan.emit.kind != ast::EmitKind::kEarly &&
         plan.options.late == LatePolicy::kDrop && std::ranges::all_of(plan.window->aggregates, is_flat);
}

std::unique_ptr<Machine> make_tumble_machine(const RuleContext& context, Results& results) {
  return std::make_unique<TumbleMachine>(context, results);
}

}  // namespace lambda::cep
