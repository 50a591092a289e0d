/* SPDX-License-Identifier: BSD-3-Clause */
#include "bench/peak_kernels.h"

extern const sp_peak_kernels sp_peak_kernels_plain;
#ifdef SP_HAS_avx2
extern const sp_peak_kernels sp_peak_kernels_avx2;
#endif
#ifdef SP_HAS_avx512
extern const sp_peak_kernels sp_peak_kernels_avx512;
#endif

const sp_peak_kernels *sp_peak_kernels_for(sp_isa isa)
{
    switch (isa) {
#ifdef SP_HAS_avx512
    case SP_ISA_AVX512:
        return &sp_peak_kernels_avx512;
#endif
#ifdef SP_HAS_avx2
    case SP_ISA_AVX2:
        return &sp_peak_kernels_avx2;
#endif
    default:
        return &sp_peak_kernels_plain;
    }
}
