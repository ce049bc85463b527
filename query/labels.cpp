#include "query/labels.h"

#include <algorithm>

namespace lambda::query {

std::string_view label_value(const Labels& labels, std::string_view name) {
  for (const auto& [key, value] : labels) {
    if (key == name) {
      return value;
    }
  }
  return {};
}

Labels sorted_labels(std::vector<std::pair<std::string, std::string>> labels) {
  std::stable_sort(labels.begin(), labels.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  Labels out;
  out.reserve(labels.size());
  for (auto& label : labels) {
    if (!out.empty() && out.back().first == label.first) {
      out.back() = std::move(label);
    } else {
      out.push_back(std::move(label));
    }
  }
  std::erase_if(out, [](const auto& label) { return label.second.empty(); });
  return out;
}

Labels without_metric_name(Labels labels) {
  std::erase_if(labels, [](const auto& label) {
    return label.first == kMetricName || label.first == "__type__" || label.first == "__unit__";
  });
  return labels;
}

namespace {

Labels chosen(const Labels& labels, const std::vector<std::string>& names, bool listed) {
  Labels out;
  for (const auto& label : labels) {
    if ((std::ranges::find(names, label.first) != names.end()) == listed) {
      out.push_back(label);
    }
  }
  return out;
}

}  // namespace

Labels without_labels(const Labels& labels, const std::vector<std::string>& names) {
  return chosen(labels, names, false);
}

Labels only_labels(const Labels& labels, const std::vector<std::string>& names) {
  return chosen(labels, names, true);
}

uint64_t hash_of(const Labels& labels) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  const auto take = [&](std::string_view text) {
    for (const char c : text) {
      hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
    }
    hash = (hash ^ 0xff) * 0x100000001b3;  // no byte of UTF-8: ends a text
  };
  for (const auto& [name, value] : labels) {
    take(name);
    take(value);
  }
  // FNV leaves the high bits poorly mixed; this is the end of MurmurHash3's 64-bit mixer.
  hash = (hash ^ (hash >> 33)) * 0xff51afd7ed558ccd;
  hash = (hash ^ (hash >> 33)) * 0xc4ceb9fe1a85ec53;
  return hash ^ (hash >> 33);
}

void set_label(Labels& labels, std::string_view name, std::string_view value) {
  auto at = std::lower_bound(labels.begin(), labels.end(), name,
                             [](const auto& label, std::string_view key) { return label.first < key; });
  const bool present = at != labels.end() && at->first == name;
  if (value.empty()) {
    if (present) {
      labels.erase(at);
    }
  } else if (present) {
    at->second = value;
  } else {
    labels.emplace(at, std::string(name), std::string(value));
  }
}

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
        out += "\\\"";
        break;
      case '\\':
        out += "\\\\";
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      case '\t':
        out += "\\t";
        break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
          out += "\\x";
          out += kHex[static_cast<unsigned char>(c) >> 4];
          out += kHex[static_cast<unsigned char>(c) & 15];
        } else {
          out += c;
        }
    }
  }
  return out + '"';
}

std::string to_string(const Labels& labels) {
  std::string out(label_value(labels, kMetricName));
  std::string inside;
  for (const auto& [name, value] : labels) {
    if (name == kMetricName) {
      continue;
    }
    inside += (inside.empty() ? "" : ",") + name + "=" + quoted(value);
  }
  if (!inside.empty() || out.empty()) {
    out += "{" + inside + "}";
  }
  return out;
}

}  // namespace lambda::query
