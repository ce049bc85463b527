// Who belongs to the site: the enrolled devices and their keys. Bytes: proto/enrolment.md, "Registry".
//
// Invariants
// - The file is the truth and only grows. Whoever changes it (the command line, as a rule) appends and syncs; a running
//   gateway sees the change at its next refresh() and needs no signal for it.
// - It fails closed: a device whose last line cannot be read counts as revoked; a file that cannot be read any more
//   leaves what was known, since removing a file must not throw a site's devices out, and is counted.
//
// Loop thread only.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/crypto/crypto.h"
#include "base/env/disk.h"
#include "base/log.h"
#include "base/result.h"

namespace lambda::gateway {

inline constexpr uint64_t kRegistryBytesMax = 64u << 20;  // about 150,000 enrolments

struct Enrolled {
  std::string device;
  PublicKey public_key{};
  uint32_t key_spec = 1;
  std::string fingerprint;                   // of the certificate, hex
  std::string serial;                        // of the last certificate, hex
  std::vector<std::string> earlier_serials;  // of certificates for the same key that were renewed: still good
  int64_t enrolled_ms = 0;
  int64_t revoked_ms = 0;
  bool revoked = false;
};

class Registry {
 public:
  Registry(Disk& disk, Log& log, std::string directory);

  // Looks whether the file changed and reads it again if so. True: what it says has changed. A missing file is an empty
  // registry. Errors (kIo, kFull): what was known stays.
  Result<bool> refresh();
  // Whether the file is longer or shorter than what was read: one look at its size, cheap enough for every message.
  bool looks_changed() const;

  // Null: never enrolled. Valid until the next refresh().
  const Enrolled* find(std::string_view device) const;
  const std::map<std::string, Enrolled, std::less<>>& devices() const { return devices_; }
  // Serials of certificates that must not be accepted any more, sorted: of revoked devices and of replaced keys.
  std::vector<std::string> dead_serials() const;

  uint64_t malformed_lines() const { return malformed_lines_; }  // in the file as it is now
  uint64_t read_errors() const { return read_errors_; }
  const std::string& path() const { return path_; }

  // The lines to append, with their newline. `torn`: the file ends without one (see ends_torn()), a line is ended
  // first.
  static std::string enroll_line(const Enrolled& device, bool torn);
  static std::string revoke_line(std::string_view device, int64_t at_ms, bool torn);
  bool ends_torn() const { return ends_torn_; }

 private:
  void parse(std::string_view text);
  Status apply_line(std::string_view line);

  Disk& disk_;
  Log& log_;
  std::string directory_, path_;
  std::map<std::string, Enrolled, std::less<>> devices_;
  std::set<std::string> dead_serials_;  // of replaced keys; those of revoked devices are in devices_
  uint64_t seen_bytes_ = 0;
  int64_t seen_modified_ms_ = 0;
  bool seen_ = false;  // a file was there at the last look
  bool ends_torn_ = false;
  uint64_t malformed_lines_ = 0;
  uint64_t read_errors_ = 0;
};

}  // namespace lambda::gateway
