// Which devices a source takes: those that match `include` (empty: all) and do not match `exclude` (empty: none).
// Regular expressions of RE2, found anywhere in the name unless anchored, as node_exporter has it.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace lambda::agent {

class DeviceFilter {
 public:
  DeviceFilter();  // takes everything
  ~DeviceFilter();
  DeviceFilter(DeviceFilter&&) noexcept;
  DeviceFilter& operator=(DeviceFilter&&) noexcept;

  // kInvalid names `setting`, for example "sources.disk", and what is wrong with the expression.
  static Result<DeviceFilter> make(std::string_view setting, const std::string& include, const std::string& exclude);
  bool wants(std::string_view device) const;

 private:
  std::unique_ptr<re2::RE2> include_, exclude_;
};

}  // namespace lambda::agent
