#include "cep/stream/snapshot.h"

#include <algorithm>
#include <span>

#include "lambda/block.h"

// Layout: "LCEP", u32 version, u64 bytes of texts, u64 bytes of body, texts (u32 count, then u32 length, mark and bytes
// each), body, u32 crc32c of all before.
namespace lambda::cep {
namespace {

constexpr std::string_view kMagic = "LCEP";
constexpr uint32_t kVersion = 4;
constexpr char kTextMark = 0;  // ahead of each text
constexpr char kListMark = 1;
constexpr size_t kHeaderBytes = 4 + 4 + 8 + 8;
constexpr size_t kChecksumBytes = 4;

void append(std::string& out, uint64_t x, int bytes) {
  for (int i = 0; i < bytes; ++i, x >>= 8) {
    out.push_back(static_cast<char>(x & 0xFF));
  }
}

uint64_t read(std::string_view bytes, size_t at, int count) {
  uint64_t x = 0;
  for (int i = count; i-- > 0;) {
    x = x << 8 | static_cast<uint8_t>(bytes[at + static_cast<size_t>(i)]);
  }
  return x;
}

uint32_t checksum(std::string_view bytes) {
  return crc32c(std::span(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
}

}  // namespace

void StateWriter::text(std::string_view x) {
  u32(static_cast<uint32_t>(x.size()));
  body_.append(x);
}

void StateWriter::value(const Value& x) {
  u8(static_cast<uint8_t>(x.type));
  switch (x.type) {
    case Type::kNull:
      break;
    case Type::kBool:
      flag(x.b);
      break;
    case Type::kText:
    case Type::kList: {
      const auto [entry, is_new] = numbers_.emplace(x.text, text_count_);
      if (is_new) {
        const std::string_view content = symbols_.text(x.text);
        append(texts_, content.size() + 1, 4);
        texts_.push_back(Symbols::is_list(x.text) ? kListMark : kTextMark);
        texts_.append(content);
        ++text_count_;
      }
      u32(entry->second);
      break;
    }
    default:
      u64(x.bits);
      break;
  }
}

size_t StateWriter::begin_part() {
  u64(0);
  return body_.size();
}

void StateWriter::end_part(size_t begin) {
  const uint64_t size = body_.size() - begin;
  for (size_t i = 0; i < 8; ++i) {
    body_[begin - 8 + i] = static_cast<char>(size >> (8 * i) & 0xFF);
  }
}

std::vector<Symbol> StateWriter::lists() const {
  std::vector<Symbol> lists;
  for (const auto& [symbol, number] : numbers_) {
    if (Symbols::is_list(symbol)) {
      lists.push_back(symbol);
    }
  }
  return lists;
}

std::string StateWriter::finish() const {
  std::string out(kMagic);
  append(out, kVersion, 4);
  append(out, texts_.size() + 4, 8);
  append(out, body_.size(), 8);
  append(out, text_count_, 4);
  out += texts_;
  out += body_;
  append(out, checksum(out), 4);
  return out;
}

Result<StateReader> StateReader::open(std::string_view bytes, Symbols& symbols) {
  if (bytes.size() < kHeaderBytes + 4 + kChecksumBytes || bytes.substr(0, 4) != kMagic) {
    return fail(ErrorCode::kCorrupt, "not a snapshot of the rule engine");
  }
  const uint64_t version = read(bytes, 4, 4);
  if (version != kVersion) {
    return fail(ErrorCode::kUnsupported, "snapshot of version " + std::to_string(version) +
                                             "; this program reads version " + std::to_string(kVersion));
  }
  const size_t body_end = bytes.size() - kChecksumBytes;
  const uint64_t text_bytes = read(bytes, 8, 8);
  const uint64_t body_bytes = read(bytes, 16, 8);
  const size_t payload = body_end - kHeaderBytes;
  if (text_bytes > payload || body_bytes != payload - text_bytes || text_bytes < 4 ||
      read(bytes, body_end, 4) != checksum(bytes.substr(0, body_end))) {
    return fail(ErrorCode::kCorrupt, "the snapshot is damaged: its checksum does not fit");
  }
  StateReader reader;
  reader.rest_ = bytes.substr(kHeaderBytes, text_bytes);
  const size_t count = reader.count(4);
  auto texts = std::make_shared<std::vector<Symbol>>();
  for (size_t i = 0; i < count && reader.ok_; ++i) {
    const size_t length = reader.count(1);
    const std::string_view text = reader.rest_.substr(0, length);
    reader.rest_.remove_prefix(length);
    const bool list = length > 0 && text[0] == kListMark;
    const std::string_view content = text.substr(std::min<size_t>(1, length));
    texts->push_back(list ? symbols.intern_list(content) : symbols.intern(content));
  }
  reader.texts_ = std::move(texts);
  if (!reader.ok_ || !reader.rest_.empty()) {
    return fail(ErrorCode::kCorrupt, "the snapshot is damaged: its texts do not fit");
  }
  reader.rest_ = bytes.substr(kHeaderBytes + text_bytes, body_bytes);
  return reader;
}

uint64_t StateReader::number(int bytes) {
  if (!ok_ || rest_.size() < static_cast<size_t>(bytes)) {
    ok_ = false;
    return 0;
  }
  const uint64_t x = read(rest_, 0, bytes);
  rest_.remove_prefix(static_cast<size_t>(bytes));
  return x;
}

StateReader StateReader::part() {
  StateReader inner;
  inner.texts_ = texts_;
  const uint64_t size = u64();
  if (!ok_ || size > rest_.size()) {
    ok_ = inner.ok_ = false;
    return inner;
  }
  inner.rest_ = rest_.substr(0, size);
  rest_.remove_prefix(size);
  return inner;
}

std::string StateReader::text() {
  const size_t length = count(1);
  std::string out(rest_.substr(0, length));
  rest_.remove_prefix(length);
  return out;
}

Value StateReader::value() {
  switch (static_cast<Type>(u8())) {
    case Type::kNull:
      return Value::null();
    case Type::kBool:
      return Value::of_bool(flag());
    case Type::kInt:
      return Value::of_int(i64());
    case Type::kDouble:
      return Value::of_double(f64());
    case Type::kText:
      return of_symbol(false);
    case Type::kList:
      return of_symbol(true);
  }
  ok_ = false;
  return Value::null();
}

Value StateReader::of_symbol(bool list) {
  const uint32_t number = u32();
  if (number >= texts_->size() || Symbols::is_list((*texts_)[number]) != list) {
    ok_ = false;
    return Value::null();
  }
  return list ? Value::of_list((*texts_)[number]) : Value::of_text((*texts_)[number]);
}

size_t StateReader::count(size_t bytes_min) {
  const size_t count = u32();
  if (count > rest_.size() / bytes_min) {
    ok_ = false;
    return 0;
  }
  return count;
}

}  // namespace lambda::cep
