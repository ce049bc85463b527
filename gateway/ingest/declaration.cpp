#include "gateway/ingest/declaration.h"

#include "proto/lambda.pb.h"

namespace lambda::gateway {
namespace {

bool is_name(std::string_view text, bool colons) {
  if (text.empty()) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (colons && c == ':');
    if (!letter && !(i > 0 && c >= '0' && c <= '9')) return false;
  }
  return true;
}

}  // namespace

Decoded read_declaration(const v1::Declaration& from, int index, Declared* to) {
  const std::string where = "declarations[" + std::to_string(index) + "]: ";
  auto bad = [&](const std::string& text) { return Decoded{DecodeVerdict::kMalformed, where + text}; };
  auto unknown = [&](const char* what, int value) {
    return Decoded{DecodeVerdict::kUnsupported, where + what + " " + std::to_string(value) + " is unknown"};
  };
  to->ref = from.ref();
  to->name = from.name();
  to->unit = from.unit();
  if (to->name.size() > kMetricNameBytesMax || !is_name(to->name, true)) return bad("name is no metric name");
  if (to->unit.size() > kLabelBytesMax) return bad("unit is too long");
  if (static_cast<size_t>(from.labels_size()) > kLabelsMax) return bad("more than 32 labels");
  for (const auto& label : from.labels()) {
    if (label.name().size() > kLabelBytesMax || !is_name(label.name(), false))
      return bad("a label's name is no label name");
    if (label.value().size() > kLabelBytesMax) return bad("label " + label.name() + ": value is too long");
    if (label.name() == "instance" || label.name() == "site" || label.name() == "__name__") {
      return bad("label " + label.name() + " is the gateway's to set");
    }
    if (!to->labels.empty() && to->labels.back().first >= label.name()) return bad("labels are not sorted by name");
    to->labels.emplace_back(label.name(), label.value());
  }
  if (from.kind() < 1) return bad("kind is missing");
  if (from.kind() > 3) return unknown("kind", from.kind());
  to->kind = static_cast<Kind>(from.kind());
  if (from.type() < 1) return bad("type is missing");
  if (from.type() > 5) return unknown("type", from.type());
  to->type = static_cast<ValueType>(from.type());
  if (from.scale() > kScaleMax || (from.scale() != 0 && to->type != ValueType::kDec))
    return bad("scale is out of range");
  to->scale = static_cast<uint8_t>(from.scale());
  return {DecodeVerdict::kOk, {}};
}

}  // namespace lambda::gateway
