/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/isa.h -- which instruction set the kernels of num/variants use on this processor.
 *
 * The files of folders called variants are compiled once for each set, with vectors of SP_LANES floats; each exports a
 * table of functions with the name of the set at its end. A plan asks once, when it is made, and keeps the table:
 *
 *     plan->kernels = sp_nufft_kernels_for(sp_isa_best());                                                         */
typedef enum sp_isa {
    SP_ISA_PLAIN,  /* any processor; vectors of four floats */
    SP_ISA_AVX2,   /* x86-64-v3: AVX2, FMA */
    SP_ISA_AVX512, /* x86-64-v4: AVX-512 F, BW, CD, DQ, VL */
    SP_ISA_COUNT
} sp_isa;

/* The best set that this processor has and this program was compiled for; no better than the environment variable
 * SPICA_ISA (plain, avx2, avx512) allows. */
sp_isa sp_isa_best(void);

/* "plain", "avx2", "avx512" */
const char *sp_isa_name(sp_isa isa);

/* SP_TABLES(sp_x_kernels) defines
 *
 *     const sp_x_kernels *sp_x_kernels_for(sp_isa isa)
 *
 * the table sp_x_kernels_avx512, _avx2 or _plain: the next best one where the program was not compiled for it. */
#ifdef SP_HAS_avx512
#define SP_TABLE_AVX512_(type) &type##_avx512
#define SP_DECLARE_AVX512_(type) extern const type type##_avx512;
#else
#define SP_TABLE_AVX512_(type) SP_TABLE_AVX2_(type)
#define SP_DECLARE_AVX512_(type)
#endif
#ifdef SP_HAS_avx2
#define SP_TABLE_AVX2_(type) &type##_avx2
#define SP_DECLARE_AVX2_(type) extern const type type##_avx2;
#else
#define SP_TABLE_AVX2_(type) &type##_plain
#define SP_DECLARE_AVX2_(type)
#endif
#define SP_TABLES(type)                                                                                                \
    extern const type type##_plain;                                                                                    \
    SP_DECLARE_AVX2_(type)                                                                                             \
    SP_DECLARE_AVX512_(type)                                                                                           \
    const type *type##_for(sp_isa isa)                                                                                 \
    {                                                                                                                  \
        const type *const tables[SP_ISA_COUNT] = {&type##_plain, SP_TABLE_AVX2_(type), SP_TABLE_AVX512_(type)};        \
                                                                                                                       \
        return tables[isa];                                                                                            \
    }
