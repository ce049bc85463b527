// The codec alone, in C++: a block written, read back, and refused when a bit of it is turned.
#include <lambda/block.h>

#include <cstdio>
#include <cstdlib>
#include <vector>

static void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "stranger.cpp: %s\n", what);
  std::exit(1);
}

int main() {
  std::vector<uint8_t> space(lambda::block_bytes_max(100));
  lambda::BlockWriter writer(space, {.ref = 1, .type = lambda::ValueType::kI64});
  std::vector<lambda::Point> points;
  for (int64_t i = 0; i < 100; ++i) {
    points.push_back({i * 1000, static_cast<uint64_t>(i * i)});
    expect(writer.append(points.back()) == lambda::AppendResult::kOk, "append");
  }
  const auto sealed = writer.seal();
  std::vector<uint8_t> bytes(sealed.begin(), sealed.end());
  lambda::BlockInfo info;
  std::vector<lambda::Point> read(100);
  expect(lambda::decode_block(bytes, 0, &info, read).ok() && read == points, "reads back");
  bytes[20] ^= 1;
  expect(lambda::decode_block(bytes, 0, &info, read).error == lambda::BlockError::kChecksum, "refuses");
  std::printf("stranger.cpp: %zu points in %zu bytes\n", points.size(), bytes.size());
  return 0;
}
