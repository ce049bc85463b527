#pragma once
#include "folly/FBString.h"
#include "folly/Range.h"
