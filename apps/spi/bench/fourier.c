/* SPDX-License-Identifier: BSD-3-Clause */
/* Fourier transforms of real cubes, there and back, next to FFTW's measured plans. */
#include <complex.h>
#include <math.h>

#include "base/memory.h"
#include "base/rng.h"
#include "bench/parts.h"
#include "bench/peers.h"
#include "bench/specimen.h"
#include "num/fft.h"
#include "num/fft_kernels.h"

enum { RNG_VOLUME = 611, CHECKED = 8 };

static const ptrdiff_t sizes[] = {64, 80, 81, 96, 128, 162};
static const ptrdiff_t quick_sizes[] = {64, 80, 81};

typedef struct cube {
    ptrdiff_t n;
    sp_fft *fft;
    sp_fft *plain; /* the same with vectors of four floats */
    sp_fftw *fftw;
    float *in, *out;     /* [n^3] */
    float complex *half; /* [n][n][n/2+1] */
} cube;

static void run_own(void *context)
{
    const cube *self = context;

    sp_fft_forward(self->fft, self->in, self->half);
    sp_fft_backward(self->fft, self->half, self->out);
}

static void run_plain(void *context)
{
    const cube *self = context;

    sp_fft_forward(self->plain, self->in, self->half);
    sp_fft_backward(self->plain, self->half, self->out);
}

static void run_fftw(void *context)
{
    const cube *self = context;

    sp_fftw_forward(self->fftw);
    sp_fftw_backward(self->fftw);
}

static void cube_clear(cube *self)
{
    sp_fft_free(self->fft);
    sp_fft_free(self->plain);
    sp_fftw_free(self->fftw);
    sp_array_free(self->in);
    sp_array_free(self->out);
    sp_array_free(self->half);
}

static sp_status cube_init(ptrdiff_t n, cube *self)
{
    sp_rng rng = sp_rng_stream(1, RNG_VOLUME, (uint64_t)n);
    sp_status status = SP_OK;

    *self = (cube){.n = n};
    SP_TRY(sp_fft_new(n, &self->fft));
    SP_TRY(sp_fft_new_for(SP_ISA_PLAIN, n, &self->plain));
    SP_TRY(SP_ARRAY(self->in, n * n * n));
    SP_TRY(SP_ARRAY(self->out, n * n * n));
    SP_TRY(SP_ARRAY(self->half, sp_fft_complex_count(self->fft)));
    SP_TRY(sp_fftw_new(n, self->in, self->half, self->out, &self->fftw));
    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        self->in[i] = (float)(sp_rng_uniform(&rng) - 0.5);
    }
done:
    return status;
}

/* Some frequencies of the transform against direct sums, and all of the way there and back. */
static sp_status check_cube(const cube *self, double *error)
{
    const ptrdiff_t n = self->n, cells = n * n * n;
    const float scale = 1.0f / (float)cells;
    double difference = 0.0, norm = 0.0;
    sp_status status = SP_OK;

    sp_fft_forward(self->fft, self->in, self->half);
    for (ptrdiff_t i = 0; i < CHECKED; i++) {
        const ptrdiff_t x = 7 * i % n, y = 11 * i % n, z = 5 * i % (n / 2 + 1);
        const double k[3] = {(double)x, (double)y, (double)z};
        const double complex want = conj(sp_direct_transform(self->in, n, k));
        const double complex got = self->half[(x * n + y) * (n / 2 + 1) + z];

        difference += pow(cabs(got - want), 2.0);
        norm += pow(cabs(want), 2.0);
    }
    *error = sqrt(difference / norm);
    SP_TRY(sp_bench_check("the forward transform", *error, 1e-5));
    run_own((void *)self);
    difference = norm = 0.0;
    for (ptrdiff_t i = 0; i < cells; i++) {
        difference += pow((double)(self->out[i] * scale - self->in[i]), 2.0);
        norm += pow((double)self->in[i], 2.0);
    }
    SP_TRY(sp_bench_check("the transform there and back", sqrt(difference / norm), 1e-5));
done:
    return status;
}

/* The number of operations by which all FFTs are compared: 2.5 cells log2(cells) for real data. */
static double nominal_operations(ptrdiff_t n)
{
    const double cells = (double)(n * n * n);

    return 2.0 * 2.5 * cells * log2(cells);
}

static void add_row(sp_bench *bench, const cube *self, double error, const sp_race *race)
{
    sp_row *row = sp_row_add(bench, "fft", 1, "r2c and c2r, %td^3", self->n);

    row->kernels = sp_isa_name(bench->machine.isa);
    row->error = error;
    sp_row_take_time(row, race, 0);
    sp_row_take_operations(row, bench, nominal_operations(self->n));
    sp_row_compare(row, race, 1, 0, "plain vectors of four floats");
    if (self->fftw) {
        sp_row_compare(row, race, 2, 0, "FFTW, plans by FFTW_MEASURE");
    } else {
        sp_row_not_installed(row, "FFTW");
    }
}

static sp_status add_threads(sp_bench *bench, cube *self)
{
    const int threads = bench->machine.threads;
    const sp_contender contender[] = {{.run = run_own, .context = self, .threads = threads},
                                      {.run = run_own, .context = self}};
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(sp_bench_race(bench, contender, 2, &race));
    sp_row *row = sp_row_add(bench, "fft", threads, "r2c and c2r, %td^3", self->n);

    row->kernels = sp_isa_name(bench->machine.isa);
    sp_row_take_time(row, &race, 0);
    sp_row_take_operations(row, bench, nominal_operations(self->n));
    sp_row_compare(row, &race, 1, 0, "one thread");
done:
    return status;
}

static sp_status time_size(sp_bench *bench, ptrdiff_t n)
{
    cube self;
    const sp_contender contender[] = {
        {.run = run_own, .context = &self}, {.run = run_plain, .context = &self}, {.run = run_fftw, .context = &self}};
    double error = 0.0;
    sp_race race;
    sp_status status = SP_OK;

    SP_TRY(cube_init(n, &self));
    SP_TRY(check_cube(&self, &error));
    SP_TRY(sp_bench_race(bench, contender, self.fftw ? 3 : 2, &race));
    add_row(bench, &self, error, &race);
    if (bench->machine.threads > 1) {
        SP_TRY(add_threads(bench, &self));
    }
done:
    cube_clear(&self);
    return status;
}

sp_status sp_bench_fft(sp_bench *bench)
{
    const bool quick = bench->settings.quick;
    const ptrdiff_t *size = quick ? quick_sizes : sizes;
    const size_t count = quick ? sizeof quick_sizes / sizeof *quick_sizes : sizeof sizes / sizeof *sizes;
    sp_status status = SP_OK;

    for (size_t i = 0; i < count; i++) {
        SP_TRY(time_size(bench, size[i]));
    }
done:
    return status;
}
