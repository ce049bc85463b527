#pragma once
#include <cstdint>
#include <iostream>
#define DECLARE_int64(name) extern int64_t FLAGS_##name
#define DEFINE_int64(name, value, help) int64_t FLAGS_##name = value
#define LOG(severity) std::cerr << '\n'
