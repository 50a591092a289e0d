/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* testing.h -- cmocka with the headers that it wants before itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
