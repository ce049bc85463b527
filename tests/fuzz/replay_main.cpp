// Runs a fuzz target over every file of the folders named on the command line. Fails when a folder has none, because a
// replay of nothing proves nothing.
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: %s FOLDER...\n", argv[0]);
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    std::error_code error;
    size_t files = 0;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(argv[i], error)) {
      if (!entry.is_regular_file()) continue;
      std::ifstream file(entry.path(), std::ios::binary);
      if (!file) {
        std::fprintf(stderr, "%s: cannot be read\n", entry.path().c_str());
        return 1;
      }
      const std::vector<char> text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
      std::vector<uint8_t> bytes(text.begin(), text.end());  // exactly as long: a sanitizer sees a read behind its end
      std::printf("%s (%zu bytes)\n", entry.path().c_str(), bytes.size());
      std::fflush(stdout);  // so that the last name printed is the one that crashed
      LLVMFuzzerTestOneInput(bytes.data(), bytes.size());
      ++files;
    }
    if (error || files == 0) {
      std::fprintf(stderr, "%s: %s\n", argv[i], error ? error.message().c_str() : "no files to replay");
      return 1;
    }
  }
  return 0;
}
