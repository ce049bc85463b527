#include "agent/source/device_filter.h"

#include <re2/re2.h>

namespace lambda::agent {
namespace {

Result<std::unique_ptr<re2::RE2>> compile(std::string_view setting, std::string_view which,
                                          const std::string& expression) {
  if (expression.empty()) return std::unique_ptr<re2::RE2>();
  re2::RE2::Options options;
  options.set_log_errors(false);
  auto compiled = std::make_unique<re2::RE2>(expression, options);
  if (!compiled->ok()) {
    return fail(ErrorCode::kInvalid, std::string(setting) + "." + std::string(which) + ": \"" + expression +
                                         "\" is no regular expression: " + compiled->error());
  }
  return compiled;
}

}  // namespace

DeviceFilter::DeviceFilter() = default;
DeviceFilter::~DeviceFilter() = default;
DeviceFilter::DeviceFilter(DeviceFilter&&) noexcept = default;
DeviceFilter& DeviceFilter::operator=(DeviceFilter&&) noexcept = default;

Result<DeviceFilter> DeviceFilter::make(std::string_view setting, const std::string& include,
                                        const std::string& exclude) {
  DeviceFilter filter;
  auto in = compile(setting, "include", include);
  if (!in) return tl::unexpected<Error>(in.error());
  auto out = compile(setting, "exclude", exclude);
  if (!out) return tl::unexpected<Error>(out.error());
  filter.include_ = std::move(*in);
  filter.exclude_ = std::move(*out);
  return filter;
}

bool DeviceFilter::wants(std::string_view device) const {
  const re2::StringPiece name(device.data(), device.size());
  if (include_ && !re2::RE2::PartialMatch(name, *include_)) return false;
  return !exclude_ || !re2::RE2::PartialMatch(name, *exclude_);
}

}  // namespace lambda::agent
