#include "cep/language/value.h"

#include <gtest/gtest.h>

#include <cmath>
#include <string>

#include "cep/language/program.h"
#include "cep/stream/keys.h"
#include "cep/stream/snapshot.h"

namespace lambda::cep {
namespace {

TEST(Value, EqualMeansTheSameForKeys) {
  EXPECT_EQ(Value::null(), Value::null());
  EXPECT_NE(Value::null(), Value::of_int(0));
  EXPECT_EQ(Value::of_double(std::nan("1")), Value::of_double(std::nan("2")));
  EXPECT_EQ(Value::of_double(0.0), Value::of_double(-0.0));
  EXPECT_EQ(hash_value(Value::of_double(0.0)), hash_value(Value::of_double(-0.0)));
  EXPECT_EQ(hash_value(Value::of_double(std::nan("1"))), hash_value(Value::of_double(std::nan("2"))));
  EXPECT_NE(Value::of_int(1), Value::of_double(1));
}

TEST(Value, OrderIsNullThenNumbersByValueWithNanLastAndTextBytewise) {
  Symbols symbols;
  const auto text = [&](const char* t) { return Value::of_text(symbols.intern(t)); };
  const auto less = [&](const Value& x, const Value& y) {
    return compare_values(x, y, symbols) < 0 && compare_values(y, x, symbols) > 0;
  };
  EXPECT_TRUE(less(Value::null(), Value::of_int(-5)));
  EXPECT_TRUE(less(Value::of_int(9), Value::of_int(10)));
  EXPECT_TRUE(less(Value::of_int(1), Value::of_double(1.5)));
  EXPECT_TRUE(less(Value::of_double(INFINITY), Value::of_double(NAN)));
  EXPECT_TRUE(less(text("B"), text("a")));  // first interned first would say the reverse for the next line
  EXPECT_TRUE(less(text("a"), text("a\xC3\xA4")));
  EXPECT_TRUE(less(Value::of_bool(false), Value::of_bool(true)));
  EXPECT_EQ(compare_values(text("x"), text("x"), symbols), 0);
}

TEST(Value, LikeKnowsPercentAndUnderscore) {
  EXPECT_TRUE(like("abc", "a_c"));
  EXPECT_TRUE(like("abc", "%"));
  EXPECT_TRUE(like("", "%"));
  EXPECT_FALSE(like("", "_"));
  EXPECT_TRUE(like("aXbXc", "a%b%c"));
  EXPECT_FALSE(like("aXbXcd", "a%b%c"));
  EXPECT_TRUE(like("\xC3\xA4x", "_x"));  // one character, two bytes
  EXPECT_FALSE(like("abc", "ABC"));
  EXPECT_TRUE(like("a%c", "a%c"));
}

TEST(Keys, AtMostMaxAndTheLongestIdleOneMakesRoom) {
  Symbols symbols;
  KeyDirectory keys(1, 2);
  const auto add = [&](const char* text) {
    const Value key = Value::of_text(symbols.intern(text));
    return keys.find_or_add(&key, kSharedTimeline);
  };
  const auto a = add("a");
  const auto b = add("b");
  ASSERT_TRUE(a && b && a->is_new && b->is_new);
  EXPECT_FALSE(add("c"));  // full, and nobody is idle
  keys.set_idle(b->id, true);
  keys.set_idle(a->id, true);
  const auto c = add("c");
  ASSERT_TRUE(c);
  EXPECT_TRUE(c->is_new);
  EXPECT_EQ(c->id, b->id);
  EXPECT_EQ(keys.evicted(), 1u);
  EXPECT_FALSE(add("a")->is_new);
  keys.set_idle(a->id, false);  // at work again: it cannot make room
  EXPECT_FALSE(add("b"));
}

TEST(Keys, FindWhatTheyHoldAfterManyEvictions) {
  KeyDirectory keys(2, 100);
  for (int64_t i = 0; i < 10'000; ++i) {
    const Value key[] = {Value::of_int(i), Value::of_double(static_cast<double>(i) / 2)};
    const auto added = keys.find_or_add(key, kSharedTimeline);
    ASSERT_TRUE(added && added->is_new) << i;
    keys.set_idle(added->id, true);
    for (int64_t old = std::max<int64_t>(0, i - 99); old <= i; old += 33) {
      const Value known[] = {Value::of_int(old), Value::of_double(static_cast<double>(old) / 2)};
      const auto found = keys.find_or_add(known, kSharedTimeline);
      ASSERT_TRUE(found && !found->is_new) << old << " after " << i;
    }
  }
  EXPECT_EQ(keys.count(), 100u);
}

TEST(Snapshot, GivesBackWhatWasWrittenInAnotherTableOfTexts) {
  Symbols symbols;
  const Symbol text = symbols.intern("one");
  StateWriter out(symbols);
  out.u8(7);
  out.i64(-3);
  out.f64(1.25);
  out.text("plain");
  out.value(Value::of_text(text));
  out.value(Value::null());
  out.value(Value::of_text(text));
  const std::string bytes = out.finish();

  Symbols others;
  others.intern("something else");
  auto in = StateReader::open(bytes, others);
  ASSERT_TRUE(in);
  EXPECT_EQ(in->u8(), 7);
  EXPECT_EQ(in->i64(), -3);
  EXPECT_EQ(in->f64(), 1.25);
  EXPECT_EQ(in->text(), "plain");
  EXPECT_EQ(others.text(in->value().text), "one");
  EXPECT_TRUE(in->value().is_null());
  EXPECT_EQ(others.text(in->value().text), "one");
  EXPECT_TRUE(in->ok() && in->at_end());
  (void)in->u32();
  EXPECT_FALSE(in->ok());
}

TEST(Snapshot, EveryDamagedByteAndEveryCutIsNoticed) {
  Symbols symbols;
  StateWriter out(symbols);
  out.value(Value::of_text(symbols.intern("text")));
  out.u64(42);
  const std::string bytes = out.finish();
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x40);
    EXPECT_FALSE(StateReader::open(damaged, symbols)) << "byte " << i;
    EXPECT_FALSE(StateReader::open(std::string_view(bytes).substr(0, i), symbols)) << "cut at " << i;
  }
  EXPECT_TRUE(StateReader::open(bytes, symbols));
}

}  // namespace
}  // namespace lambda::cep
