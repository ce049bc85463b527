// What the tests of the real world share: a folder that goes away, certificates, and a loop that runs until something
// happened.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/crypto/crypto.h"
#include "base/os/loop.h"

namespace lambda {

class TestFolder {
 public:
  TestFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "lambda-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TestFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(const TestFolder&) = delete;
  TestFolder& operator=(const TestFolder&) = delete;
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

// An authority and a certificate of it for `name` at 127.0.0.1, for both sides, good for a day: ca.pem, cert.pem and
// key.pem in the folder.
inline void make_certificates(const TestFolder& folder, const Clock& clock, Random& random, const std::string& name) {
  CertificateOrder order;
  order.common_name = "ca";
  order.not_before_ms = clock.utc_ms() - 86'400'000;
  order.not_after_ms = clock.utc_ms() + 86'400'000;
  order.authority = true;
  const std::string ca_key = *make_tls_key(random);
  const std::string ca = *self_signed_authority(ca_key, order, random);
  order.authority = false;
  order.server = order.client = true;
  order.ip_addresses = {"127.0.0.1"};
  order.common_name = name;
  const std::string key = *make_tls_key(random);
  std::ofstream(folder / "ca.pem") << ca;
  std::ofstream(folder / "key.pem") << key;
  std::ofstream(folder / "cert.pem") << *issue_for_key(ca, ca_key, key, order, random);
}

// Runs the loop until `done` holds; a test that waits in vain fails after `limit_ms`.
inline bool run_until(OsLoop& loop, const std::function<bool()>& done, int64_t limit_ms = 20'000) {
  bool over = false;
  const auto limit = loop.after(limit_ms, [&] {
    over = true;
    loop.stop();
  });
  std::function<void()> look = [&] {
    if (done()) {
      loop.stop();
    } else if (!over) {
      loop.after(1, look);
    }
  };
  loop.post(look);
  loop.run();
  loop.cancel(limit);
  return done();
}

}  // namespace lambda
