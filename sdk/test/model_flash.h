// The model of NOR flash, where a broken rule of it fails the test.
#pragma once

#include <gtest/gtest.h>

#include "nor_flash.h"

namespace lambda::test {

struct ModelFlash final : NorFlash {
  using NorFlash::NorFlash;

 private:
  void broken(const std::string& rule) override { ADD_FAILURE() << rule; }
};

}  // namespace lambda::test
