#include "agent/source/statsd_names.h"

#include <algorithm>

namespace lambda::agent {
namespace {

std::string mapped(std::string_view text, bool colon) {
  std::string out;
  out.reserve(text.size() + 1);
  for (const char c : text) {
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (colon && c == ':');
    out += plain ? c : '_';
  }
  if (!out.empty() && out.front() >= '0' && out.front() <= '9') out.insert(out.begin(), '_');
  return out;
}

std::string mapped_key(std::string_view key) {
  std::string out = mapped(key, false);
  const size_t plain = std::min(out.find_first_not_of('_'), out.size());
  if (plain > 1) out.erase(0, plain - 1);
  for (const std::string_view taken : {"instance", "site", "le", "quantile"}) {
    if (out == taken) return "exported_" + out;
  }
  return out;
}

// Continuation bytes that a lead byte of UTF-8 asks for; 4: it is none.
size_t continuation_bytes(uint8_t lead) {
  if (lead < 0x80) return 0;
  if (lead >= 0xC2 && lead <= 0xDF) return 1;
  if (lead >= 0xE0 && lead <= 0xEF) return 2;
  if (lead >= 0xF0 && lead <= 0xF4) return 3;
  return 4;
}

bool is_utf8(std::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto lead = static_cast<uint8_t>(text[i]);
    const size_t more = continuation_bytes(lead);
    if (more > 3 || text.size() - i <= more) return false;
    for (size_t k = 1; k <= more; ++k) {
      if ((static_cast<uint8_t>(text[i + k]) & 0xC0) != 0x80) return false;
    }
    const auto second = more > 0 ? static_cast<uint8_t>(text[i + 1]) : uint8_t{0};
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F)) return false;  // too long; surrogates
    if ((lead == 0xF0 && second < 0x90) || (lead == 0xF4 && second > 0x8F)) return false;  // too long; past U+10FFFF
    i += more + 1;
  }
  return true;
}

bool add_tag(std::string_view tag, LabelList& labels) {
  const size_t colon = tag.find(':');
  const std::string_view key = tag.substr(0, colon);
  const std::string_view value = colon == std::string_view::npos ? "true" : tag.substr(colon + 1);
  if (key.empty() || value.empty()) return true;
  if (key.size() > kStatsdNameBytesMax || value.size() > kStatsdValueBytesMax || !is_utf8(value)) return false;
  if (labels.size() >= kStatsdLabelsMax) return false;
  labels.emplace_back(mapped_key(key), value);
  return true;
}

// Values of the same label become one.
bool join_labels(LabelList& labels) {
  std::sort(labels.begin(), labels.end());
  labels.erase(std::unique(labels.begin(), labels.end()), labels.end());
  size_t kept = 0;
  for (size_t i = 1; i < labels.size(); ++i) {
    if (labels[i].first == labels[kept].first) {
      labels[kept].second += "," + labels[i].second;
      if (labels[kept].second.size() > kStatsdValueBytesMax) return false;
    } else if (++kept != i) {
      labels[kept] = std::move(labels[i]);
    }
  }
  if (!labels.empty()) labels.resize(kept + 1);
  return true;
}

}  // namespace

std::string StatsdIdentity::key() const {
  std::string out = name;
  for (const auto& [label, value] : labels) {
    // Neither a name nor a label holds a zero byte or a colon; a value may hold anything, so its size goes before it.
    out += '\0';
    out += label;
    out += ':';
    out += std::to_string(value.size());
    out += ':';
    out += value;
  }
  return out;
}

bool map_statsd_names(std::string_view name, std::string_view tags, StatsdIdentity* out) {
  if (name.empty() || name.size() > kStatsdNameBytesMax) return false;
  out->name = mapped(name, true);
  if (out->name.starts_with("node_") || out->name.starts_with("lambda_")) out->name.insert(0, "statsd_");
  if (out->name.size() > kStatsdNameBytesMax) return false;
  out->labels.clear();
  std::vector<std::string_view> spelt;
  while (!tags.empty()) {
    const size_t comma = tags.find(',');
    const std::string_view tag = tags.substr(0, comma);
    tags.remove_prefix(comma == std::string_view::npos ? tags.size() : comma + 1);
    if (!add_tag(tag, out->labels)) return false;
    if (!tag.empty()) spelt.push_back(tag.substr(0, tag.find(':')));
  }
  std::sort(spelt.begin(), spelt.end());
  spelt.erase(std::unique(spelt.begin(), spelt.end()), spelt.end());
  out->spelling = name;
  for (const std::string_view key : spelt) out->spelling.append(",").append(key);
  return join_labels(out->labels);
}

}  // namespace lambda::agent
