/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* phases/heap.h -- for tests: how much memory is taken. */
#include <malloc.h>

/* [byte] got from the heap and not given back; 0 under a tool that replaces the heap */
static inline double heap(void)
{
    const struct mallinfo2 info = mallinfo2();

    return (double)info.uordblks + (double)info.hblkhd;
}
