// From StatsD's names and tags, which may hold any bytes, to those of series. The mapping:
//
//   name     each character outside [a-zA-Z0-9_:] becomes '_'; one that begins with a digit gets '_' in front; one that
//            begins with node_ or lambda_ gets "statsd_" in front: those names belong to the agent's own collectors
//   tag      key:value is the label key="value"; the key is mapped as a name (without ':'); a run of '_' at its front
//            becomes one; instance, site, le and quantile, which have a meaning here, become exported_<key>; a tag
//            without a value is key="true"; one with an empty value is no label; a key that comes with several values
//            has them all, sorted, with commas between
//   order    of the tags has no meaning
//
// Two spellings that become the same series (a.b and a_b) are one series, and that is told: see Statsd.
#pragma once

#include <string>
#include <string_view>

#include "agent/source/source.h"

namespace lambda::agent {

inline constexpr size_t kStatsdNameBytesMax = 180;  // room for _total and the like within a series' 200
inline constexpr size_t kStatsdValueBytesMax = 1024;
inline constexpr size_t kStatsdLabelsMax = 30;  // room for le or quantile within a series' 32

struct StatsdIdentity {
  std::string name;
  LabelList labels;  // sorted by name
  // The name and the keys of the tags before they were mapped, in one order. Two of these for one series are a
  // collision.
  std::string spelling;

  // Name and labels in one text, different for different series.
  std::string key() const;
};

// False: the name or a tag is too long, or there are too many tags, or a value is not UTF-8.
bool map_statsd_names(std::string_view name, std::string_view tags, StatsdIdentity* out);

}  // namespace lambda::agent
