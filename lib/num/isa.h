/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* num/isa.h -- which instruction set the kernels of num/variants use on this processor.
 *
 * The files of num/variants are compiled once for each set, with vectors of SP_LANES floats; each exports a table of
 * functions with the name of the set at its end. A plan asks once, when it is made, and keeps the table:
 *
 *     plan->kernels = sp_nufft_kernels(sp_isa_best());                                                             */
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
