#include "agent/spool/series_table.h"

#include <algorithm>

#include "proto/lambda.pb.h"

namespace lambda::agent {
namespace {

// text = key unit;  key = str name, u8 n, n x (str name, str value);  str = u16 length, bytes
constexpr size_t kNameBytesMax = 200;
constexpr size_t kLabelBytesMax = 1024;
constexpr size_t kLabelsMax = 32;
constexpr uint32_t kRefMax = 1u << 20;  // a hostile file must not make us reserve memory for a huge ref

bool is_name(std::string_view text, bool colon) {
  if (text.empty()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colon && c == ':');
    if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
  }
  return true;
}

// Protocol Buffers refuse strings that are not UTF-8.
bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto c = static_cast<uint8_t>(text[i]);
    const size_t more = c < 0x80 ? 0 : (c >> 5) == 6 ? 1 : (c >> 4) == 14 ? 2 : (c >> 3) == 30 ? 3 : 4;
    if (more > 3 || i + more >= text.size() + (more == 0)) return false;
    uint32_t point = more == 0 ? c : c & (0x3Fu >> more);
    for (size_t k = 1; k <= more; ++k) {
      const auto next = static_cast<uint8_t>(text[i + k]);
      if ((next >> 6) != 2) return false;
      point = point << 6 | (next & 0x3F);
    }
    static constexpr uint32_t kLeast[] = {0, 0x80, 0x800, 0x10000};
    if (point < kLeast[more] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000)) return false;
    i += more + 1;
  }
  return true;
}

uint64_t hash_of(std::string_view bytes) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash ^ hash >> 29;
}

void put_str(std::string& out, std::string_view text) {
  out.push_back(static_cast<char>(text.size() & 0xFF));
  out.push_back(static_cast<char>(text.size() >> 8));
  out.append(text);
}

std::string_view take_str(std::string_view& in) {
  const size_t size = static_cast<uint8_t>(in[0]) | static_cast<size_t>(static_cast<uint8_t>(in[1])) << 8;
  const std::string_view text = in.substr(2, size);
  in.remove_prefix(2 + size);
  return text;
}

std::string owner_name(SeriesOwner owner) {
  if (owner == kOwnerCollectors) return "a collector";
  if (owner == kOwnerStatsd) return "a StatsD client";
  return owner == kOwnerDoors ? "a program that hands points in over HTTP" : "a scraped target";
}

void write_key(std::string& out, std::string_view name, LabelList& labels) {
  // Prometheus has it that an empty label is an absent one.
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  std::sort(labels.begin(), labels.end());
  out.clear();
  put_str(out, name);
  out.push_back(static_cast<char>(labels.size()));
  for (const auto& [label, value] : labels) {
    put_str(out, label);
    put_str(out, value);
  }
}

}  // namespace

Status check_series(std::string_view name, const LabelList& labels, ValueType type, uint8_t scale,
                    std::string_view unit) {
  const auto wrong = [&](std::string what) {
    return fail(ErrorCode::kInvalid,
                "series \"" + std::string(name.substr(0, kNameBytesMax)) + "\": " + std::move(what));
  };
  if (name.size() > kNameBytesMax || !is_name(name, true)) {
    return wrong("a metric name is [a-zA-Z_:][a-zA-Z0-9_:]*, at most 200 bytes");
  }
  if (labels.size() > kLabelsMax) return wrong("more than 32 labels");
  for (size_t i = 0; i < labels.size(); ++i) {
    const auto& [label, value] = labels[i];
    if (label.size() > kLabelBytesMax || !is_name(label, false) || label.starts_with("__")) {
      return wrong("label \"" + label + "\": a label is [a-zA-Z_][a-zA-Z0-9_]*, not beginning with __");
    }
    if (label == "instance" || label == "site") return wrong("label \"" + label + "\" is set by the gateway");
    if (value.size() > kLabelBytesMax) return wrong("label \"" + label + "\": value over 1024 bytes");
    if (!is_utf8(value)) return wrong("label \"" + label + "\": value is not UTF-8");
    for (size_t k = 0; k < i; ++k) {
      if (labels[k].first == label) return wrong("label \"" + label + "\" twice");
    }
  }
  if (type != ValueType::kF64 && type != ValueType::kI64 && type != ValueType::kDec && type != ValueType::kState) {
    return wrong("value type " + std::to_string(static_cast<int>(type)) + " is not supported");
  }
  if (type == ValueType::kDec ? scale > kScaleMax : scale != 0) return wrong("scale " + std::to_string(scale));
  if (unit.size() > kLabelBytesMax || !is_utf8(unit)) return wrong("unit is too long or not UTF-8");
  return {};
}

Series& SeriesTable::at(SeriesRef ref) {
  LAMBDA_ASSERT(ref < series_.size());
  return series_[ref];
}

const Series& SeriesTable::at(SeriesRef ref) const {
  LAMBDA_ASSERT(ref < series_.size());
  return series_[ref];
}

Status SeriesTable::reach(SeriesRef ref) {
  if (ref >= kRefMax) return fail(ErrorCode::kInvalid, "ref " + std::to_string(ref) + " is over the largest one");
  if (ref >= series_.size()) series_.resize(ref + 1);
  return {};
}

SeriesTable::Names& SeriesTable::own_names() {
  if (names_.use_count() > 1) names_ = std::make_shared<Names>(*names_);
  return *names_;
}

bool SeriesTable::share_names(const SeriesTable& other) {
  if (names_ == other.names_) return true;
  const auto same = [](const Series& a, const Series& b) {
    return a.text_offset == b.text_offset && a.key_bytes == b.key_bytes && a.text_bytes == b.text_bytes &&
           a.kind == b.kind && a.type == b.type && a.scale == b.scale;
  };
  if (names_->text != other.names_->text ||
      !std::equal(series_.begin(), series_.end(), other.series_.begin(), other.series_.end(), same)) {
    return false;
  }
  names_ = other.names_;
  series_.shrink_to_fit();
  scratch_ = {};
  return true;
}

void SeriesTable::index(SeriesRef ref) {
  std::vector<uint32_t>& buckets = own_names().buckets;
  const size_t mask = buckets.size() - 1;
  size_t slot = hash_of(key(series_[ref])) & mask;
  while (buckets[slot] != 0) slot = (slot + 1) & mask;
  buckets[slot] = ref + 1;
}

void SeriesTable::grow_index() {
  if ((names_->known + 1) * 2 <= names_->buckets.size()) return;
  std::vector<uint32_t>& buckets = own_names().buckets;
  buckets.assign(buckets.empty() ? 64 : buckets.size() * 2, 0);
  for (SeriesRef ref = 0; ref < series_.size(); ++ref) {
    if (known(ref)) index(ref);
  }
}

// Puts the key in scratch_ and the unit into the text.
void SeriesTable::add_text(Series& series, std::string_view unit) {
  Names& names = own_names();
  series.text_offset = static_cast<uint32_t>(names.text.size());
  series.key_bytes = static_cast<uint32_t>(scratch_.size());
  names.text += scratch_;
  put_str(names.text, unit);
  series.text_bytes = static_cast<uint32_t>(names.text.size()) - series.text_offset;
  names.known++;
}

Result<SeriesRef> SeriesTable::find_or_add(const SeriesSpec& spec, bool may_add, SeriesOwner mine) {
  LabelList labels = spec.labels;
  if (auto status = check_series(spec.name, labels, spec.type, spec.scale, spec.unit); !status) {
    return tl::unexpected(status.error());
  }
  write_key(scratch_, spec.name, labels);
  grow_index();
  const std::vector<uint32_t>& buckets = names_->buckets;
  const size_t mask = buckets.size() - 1;
  for (size_t slot = hash_of(scratch_) & mask; buckets[slot] != 0; slot = (slot + 1) & mask) {
    const SeriesRef ref = buckets[slot] - 1;
    const Series& series = series_[ref];
    if (key(series) != scratch_) continue;
    if (owner(ref) != mine) {
      return fail(ErrorCode::kDenied,
                  "series \"" + spec.name + "\" is made by " + owner_name(owner(ref)) +
                      ": two sources would mix their times; give one of them another name or label");
    }
    if (series.type != spec.type || series.scale != spec.scale || series.kind != spec.kind) {
      return fail(ErrorCode::kInvalid, "series \"" + spec.name + "\" has another kind, type or scale already");
    }
    return ref;
  }
  if (names_->known >= series_max_) {
    return fail(ErrorCode::kFull, "series \"" + spec.name + "\": over series_max = " + std::to_string(series_max_));
  }
  if (!may_add) return fail(ErrorCode::kFull, "series \"" + spec.name + "\": over doors.series_max");
  return add(spec, mine);
}

// Its key is in scratch_.
SeriesRef SeriesTable::add(const SeriesSpec& spec, SeriesOwner owner) {
  if (series_.empty()) series_.emplace_back();  // ref 0 is no series
  SeriesRef ref = size();
  if (free_.empty()) {
    series_.emplace_back();
  } else {
    ref = free_.back();
    free_.pop_back();
    retaken_.push_back(ref);
  }
  Series& series = series_[ref];
  add_text(series, spec.unit);
  series.kind = spec.kind;
  series.type = spec.type;
  series.scale = spec.scale;
  index(ref);
  if (owners_.size() <= ref) owners_.resize(ref + 1, kOwnerCollectors);
  owners_[ref] = owner;
  return ref;
}

Status SeriesTable::put(const v1::Declaration& declaration) {
  LabelList labels;
  for (const auto& label : declaration.labels()) labels.emplace_back(label.name(), label.value());
  const auto type = static_cast<ValueType>(declaration.type());
  const auto kind = static_cast<Kind>(declaration.kind());
  if (declaration.ref() == 0) return fail(ErrorCode::kInvalid, "declaration: ref 0");
  if (declaration.scale() > kScaleMax) return fail(ErrorCode::kInvalid, "declaration: scale over 18");
  const auto scale = static_cast<uint8_t>(declaration.scale());
  if (kind < Kind::kGauge || kind > Kind::kState) return fail(ErrorCode::kInvalid, "declaration: unknown kind");
  if (auto status = check_series(declaration.name(), labels, type, scale, declaration.unit()); !status) return status;
  if (auto status = reach(declaration.ref()); !status) return status;
  write_key(scratch_, declaration.name(), labels);
  Series& series = series_[declaration.ref()];
  if (series.text_bytes > 0) {
    if (key(series) == scratch_ && series.type == type && series.scale == scale) return {};
    return fail(ErrorCode::kInvalid, "ref " + std::to_string(declaration.ref()) + " is declared twice, differently");
  }
  grow_index();
  add_text(series, declaration.unit());
  series.kind = kind;
  series.type = type;
  series.scale = scale;
  index(declaration.ref());
  return {};
}

DeclarationView SeriesTable::declaration(SeriesRef ref, std::vector<LabelView>& labels) const {
  LAMBDA_ASSERT(known(ref));
  const Series& series = series_[ref];
  std::string_view text = std::string_view(names_->text).substr(series.text_offset, series.text_bytes);
  DeclarationView view;
  view.ref = ref;
  view.name = take_str(text);
  const size_t count = static_cast<uint8_t>(text[0]);
  text.remove_prefix(1);
  labels.clear();
  for (size_t i = 0; i < count; ++i) {
    const std::string_view name = take_str(text);
    labels.push_back({name, take_str(text)});
  }
  view.labels = labels;
  view.unit = take_str(text);
  view.kind = series.kind;
  view.type = series.type;
  view.scale = series.scale;
  return view;
}

void SeriesTable::write(SeriesRef ref, v1::Declaration& out) const {
  std::vector<LabelView> labels;
  const DeclarationView view = declaration(ref, labels);
  out.set_ref(ref);
  out.set_name(view.name.data(), view.name.size());
  for (const auto& [name, value] : labels) {
    auto* label = out.add_labels();
    label->set_name(name.data(), name.size());
    label->set_value(value.data(), value.size());
  }
  out.set_kind(static_cast<v1::Kind>(view.kind));
  out.set_type(static_cast<v1::ValueType>(view.type));
  out.set_scale(view.scale);
  out.set_unit(view.unit.data(), view.unit.size());
}

void SeriesTable::leave_out(const std::vector<bool>& gone) {
  if (std::find(gone.begin(), gone.end(), true) == gone.end()) return;
  const std::shared_ptr<Names> before = names_;
  names_ = std::make_shared<Names>();
  free_.clear();
  for (SeriesRef ref = size(); ref-- > 1;) {
    Series& series = series_[ref];
    if (series.text_bytes == 0 || (ref < gone.size() && gone[ref])) {
      series = {};
      free_.push_back(ref);
      continue;
    }
    const size_t offset = names_->text.size();
    names_->text.append(before->text, series.text_offset, series.text_bytes);
    series.text_offset = static_cast<uint32_t>(offset);
    names_->known++;
  }
  size_t buckets = 64;
  while (buckets < (size_t{names_->known} + 1) * 2) buckets *= 2;
  names_->buckets.assign(buckets, 0);
  for (SeriesRef ref = 1; ref < size(); ++ref) {
    if (known(ref)) index(ref);
  }
}

SeriesTable SeriesTable::next_boot(const std::vector<bool>& gone) const {
  SeriesTable next = *this;
  next.retaken_.clear();
  next.leave_out(gone);
  for (Series& series : next.series_) {
    series.next_ordinal = 0;
    series.covered = 0;
    series.declared = false;
  }
  return next;
}

}  // namespace lambda::agent
