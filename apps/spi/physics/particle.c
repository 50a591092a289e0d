/* SPDX-License-Identifier: BSD-3-Clause */
#include "physics/particle.h"

#include <complex.h>
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/memory.h"
#include "num/fft.h"
#include "physics/detector.h"
#include "physics/scattering.h"

enum {
    WIDTH = 6,       /* of the interpolation kernel [grid point] */
    STEPS = 1024,    /* tabulated kernel shifts per grid point; linear interpolation errs by 2e-6 */
    MAX_EDGE = 2048, /* of the grid: limit of sp_fft_new() */
    MAX_PARTS = 2 * SP_SCATTERING_ELEMENTS,
};
/* Both grids, of positions and of frequencies, are oversampled twice; best kernel for that: Beatty et al., eq. 5. */
static const double OVERSAMPLING = 2.0;
static const double BETA = 13.8551004; /* pi sqrt(WIDTH^2 / 4 * (2 - 1/2)^2 - 0.8) */

struct sp_particle {
    double diameter; /* [m] */
    double box;      /* edge of the periodic box [m]; frequencies are sampled at 1/box */
    ptrdiff_t reach; /* the cube holds frequency indices -reach .. reach */
    int elements;    /* how many there are in the molecule */
    int element[SP_SCATTERING_ELEMENTS];
    float *cube;   /* [2 reach + 1]^3 [elements][2]: transform of the points of each element, real and imaginary part */
    float *factor; /* [pixels][elements] f0 [electrons] */
    float (*kernel)[WIDTH]; /* [STEPS + 1] weights of the 6 points around a frequency, by its shift */
};

/* ---- Kaiser-Bessel kernel ---- */

static double bessel_i0(double x)
{
    double term = 1.0, sum = 1.0;

    for (int k = 1; term > 1e-17 * sum; k++) {
        term *= (0.5 * x / k) * (0.5 * x / k);
        sum += term;
    }
    return sum;
}

/* Kernel at distance t [grid point]. */
static double kernel_at(double t)
{
    const double y = 1.0 - (2.0 * t / WIDTH) * (2.0 * t / WIDTH);

    return y < 0.0 ? 0.0 : bessel_i0(BETA * sqrt(y));
}

/* Its Fourier transform at frequency x [1/grid point], |x| <= 1/2. */
static double kernel_transform(double x)
{
    const double y = sqrt(BETA * BETA - (M_PI * WIDTH * x) * (M_PI * WIDTH * x));

    return WIDTH * sinh(y) / y;
}

/* weight[i] = kernel at the grid points first .. first + WIDTH - 1 around u; returns `first`. */
static ptrdiff_t kernel_weights(double u, double weight[WIDTH])
{
    const ptrdiff_t first = (ptrdiff_t)floor(u) - WIDTH / 2 + 1;

    for (int i = 0; i < WIDTH; i++) {
        weight[i] = kernel_at((double)(first + i) - u);
    }
    return first;
}

static void tabulate_kernel(sp_particle *self)
{
    for (int step = 0; step <= STEPS; step++) {
        for (int i = 0; i < WIDTH; i++) {
            const int point = i - WIDTH / 2 + 1;

            self->kernel[step][i] = (float)kernel_at(point - (double)step / STEPS);
        }
    }
}

/* ---- positions to frequencies ---- */

static void find_centre(const sp_atoms *atoms, double centre[3])
{
    double electrons = 0.0, sum[3] = {0};

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        const double weight = atoms->atom[a].occupancy * atoms->atom[a].element;

        electrons += weight;
        for (int i = 0; i < 3; i++) {
            sum[i] += weight * atoms->atom[a].position[i];
        }
    }
    for (int i = 0; i < 3; i++) {
        centre[i] = electrons > 0.0 ? sum[i] / electrons : 0.0;
    }
}

static double find_radius(const sp_atoms *atoms, const double centre[3])
{
    double largest = 0.0;

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        const double *r = atoms->atom[a].position;

        largest = fmax(largest, hypot(hypot(r[0] - centre[0], r[1] - centre[1]), r[2] - centre[2]));
    }
    return largest;
}

static void list_elements(sp_particle *self, const sp_atoms *atoms)
{
    bool present[SP_SCATTERING_ELEMENTS + 1] = {false};

    for (ptrdiff_t a = 0; a < atoms->count; a++) {
        present[atoms->atom[a].element] = true;
    }
    for (int z = 1; z <= SP_SCATTERING_ELEMENTS; z++) {
        if (present[z]) {
            self->element[self->elements++] = z;
        }
    }
}

/* Adds one atom to the periodic grid, its weight divided by what the interpolation in frequency will multiply it by:
 * the transform of the kernel at the atom's place in the box. */
static void spread_atom(const sp_particle *self, ptrdiff_t n, const double position[3], double occupancy, float *grid)
{
    double weight[3][WIDTH], scale = occupancy;
    ptrdiff_t index[3][WIDTH];

    for (int i = 0; i < 3; i++) {
        const ptrdiff_t first = kernel_weights(position[i] / self->box * (double)n, weight[i]);

        scale /= kernel_transform(position[i] / self->box);
        for (int k = 0; k < WIDTH; k++) {
            index[i][k] = ((first + k) % n + n) % n;
        }
    }
    for (int x = 0; x < WIDTH; x++) {
        for (int y = 0; y < WIDTH; y++) {
            const double row = scale * weight[0][x] * weight[1][y];

            for (int z = 0; z < WIDTH; z++) {
                grid[(index[0][x] * n + index[1][y]) * n + index[2][z]] += (float)(row * weight[2][z]);
            }
        }
    }
}

/* Copies the frequencies -reach .. reach of one element into the cube, freed of the spreading kernel. The transform
 * has exp(-2 pi i ..) and keeps half of the frequencies; F(s) has exp(+2 pi i ..), so that F(k) = conj(spectrum(k)) =
 * spectrum(-k). */
static void keep_frequencies(sp_particle *self, ptrdiff_t n, const float complex *spectrum, int slot)
{
    const ptrdiff_t h = self->reach, edge = 2 * h + 1, half = n / 2 + 1;

    for (ptrdiff_t x = -h; x <= h; x++) {
        for (ptrdiff_t y = -h; y <= h; y++) {
            for (ptrdiff_t z = -h; z <= h; z++) {
                const ptrdiff_t sign = z < 0 ? -1 : 1;
                const ptrdiff_t i = (sign * x + n) % n, j = (sign * y + n) % n;
                const float complex value = spectrum[(i * n + j) * half + sign * z];
                const double correction = kernel_transform((double)x / (double)n) *
                                          kernel_transform((double)y / (double)n) *
                                          kernel_transform((double)z / (double)n);
                float *out = self->cube + 2 * ((((x + h) * edge + y + h) * edge + z + h) * self->elements + slot);

                out[0] = (float)(crealf(value) / correction);
                out[1] = (float)(-(double)sign * cimagf(value) / correction);
            }
        }
    }
}

static sp_status transform_elements(sp_particle *self, const sp_atoms *atoms, const double centre[3], ptrdiff_t n)
{
    sp_status status = SP_OK;
    sp_fft *fft = NULL;
    float *grid = NULL;
    float complex *spectrum = NULL;

    SP_TRY(sp_fft_new(n, &fft));
    SP_TRY(SP_ARRAY(grid, n * n * n));
    SP_TRY(SP_ARRAY(spectrum, sp_fft_complex_count(fft)));
    for (int slot = 0; slot < self->elements; slot++) {
        memset(grid, 0, (size_t)(n * n * n) * sizeof *grid);
        for (ptrdiff_t a = 0; a < atoms->count; a++) {
            const sp_atom *atom = &atoms->atom[a];
            const double position[3] = {atom->position[0] - centre[0], atom->position[1] - centre[1],
                                        atom->position[2] - centre[2]};

            if (atom->element == self->element[slot]) {
                spread_atom(self, n, position, atom->occupancy, grid);
            }
        }
        sp_fft_forward(fft, grid, spectrum);
        keep_frequencies(self, n, spectrum, slot);
    }
done:
    sp_array_free(spectrum);
    sp_array_free(grid);
    sp_fft_free(fft);
    return status;
}

static sp_status tabulate_factors(sp_particle *self, const sp_detector_map *map)
{
    sp_status status = SP_OK;

    SP_TRY(SP_ARRAY(self->factor, map->pixels * self->elements));
    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        const double *s = map->position + 3 * p, length = hypot(hypot(s[0], s[1]), s[2]);

        for (int e = 0; e < self->elements; e++) {
            self->factor[p * self->elements + e] = (float)sp_scattering_factor(self->element[e], length);
        }
    }
done:
    return status;
}

static ptrdiff_t cube_floats(const sp_particle *self)
{
    const ptrdiff_t edge = 2 * self->reach + 1;

    return edge * edge * edge * self->elements * 2;
}

/* Chooses the box and the frequencies to keep; *n = edge of the grid of positions. */
static sp_status plan_grid(sp_particle *self, double extent, ptrdiff_t *n)
{
    sp_status status = SP_OK;
    /* at least a few frequencies across, also for a single atom */
    const double size = fmax(self->diameter, extent > 0.0 ? 2.0 / extent : 1e-9);
    const double limit = MAX_EDGE / (2.0 * OVERSAMPLING) - WIDTH; /* of the frequency index */

    self->box = OVERSAMPLING * size;
    SP_REQUIRE(extent * self->box < limit, SP_ERR_USAGE,
               "a particle of %.0f nm seen to %.3g nm at the corner of the detector needs too fine a grid; increase "
               "the distance",
               1e9 * self->diameter, 1e9 / extent);
    self->reach = (ptrdiff_t)ceil(extent * self->box) + WIDTH / 2;
    *n = sp_fft_good_size((ptrdiff_t)(2.0 * OVERSAMPLING * (double)self->reach));
    const double cube = pow((double)*n, 3.0), bytes = sizeof(float) * (2.0 * cube + (double)cube_floats(self));
    const double available = (double)sp_memory_available();
    SP_REQUIRE(available <= 0.0 || bytes < available, SP_ERR_MEMORY,
               "the Fourier grid of a particle of %.0f nm needs %.1f GB, but only %.1f GB of memory are free; increase "
               "the distance",
               1e9 * self->diameter, 1e-9 * bytes, 1e-9 * available);
done:
    return status;
}

sp_status sp_particle_new(const sp_atoms *atoms, const sp_detector_map *map, sp_particle **particle)
{
    sp_status status = SP_OK;
    sp_particle *self = NULL;
    ptrdiff_t n = 0;
    double centre[3];

    SP_TRY(SP_ARRAY(self, 1));
    list_elements(self, atoms);
    find_centre(atoms, centre);
    self->diameter = 2.0 * find_radius(atoms, centre);
    SP_TRY(plan_grid(self, sp_detector_extent(map), &n));
    SP_TRY(SP_ARRAY(self->cube, cube_floats(self)));
    SP_TRY(SP_ARRAY(self->kernel, STEPS + 1));
    tabulate_kernel(self);
    SP_TRY(transform_elements(self, atoms, centre, n));
    SP_TRY(tabulate_factors(self, map));
    *particle = self;
    self = NULL;
done:
    sp_particle_free(self);
    return status;
}

void sp_particle_free(sp_particle *particle)
{
    if (particle) {
        sp_array_free(particle->cube);
        sp_array_free(particle->factor);
        sp_array_free(particle->kernel);
        sp_array_free(particle);
    }
}

double sp_particle_diameter(const sp_particle *particle)
{
    return particle->diameter;
}

/* ---- patterns ---- */

/* Weights of the WIDTH points around frequency index u; returns the first of them. */
static ptrdiff_t look_up(const sp_particle *self, double u, float weight[WIDTH])
{
    const double base = floor(u), shift = (u - base) * STEPS;
    const int step = (int)shift < STEPS ? (int)shift : STEPS - 1;
    const float part = (float)(shift - step);

    for (int i = 0; i < WIDTH; i++) {
        weight[i] = self->kernel[step][i] + part * (self->kernel[step + 1][i] - self->kernel[step][i]);
    }
    return (ptrdiff_t)base - WIDTH / 2 + 1;
}

/* |F|^2 at s [1/m] in the frame of the molecule; factor [elements]. */
static float intensity_at(const sp_particle *self, const double s[3], const float *factor)
{
    const ptrdiff_t edge = 2 * self->reach + 1, parts = 2 * self->elements, row = WIDTH * parts;
    float weight[3][WIDTH], sum[WIDTH * MAX_PARTS];
    ptrdiff_t first[3];
    double real = 0.0, imaginary = 0.0;

    for (int i = 0; i < 3; i++) {
        first[i] = look_up(self, s[i] * self->box, weight[i]) + self->reach;
    }
    for (ptrdiff_t k = 0; k < row; k++) {
        sum[k] = 0.0f;
    }
    for (int x = 0; x < WIDTH; x++) {
        for (int y = 0; y < WIDTH; y++) {
            const float *restrict in = self->cube + (((first[0] + x) * edge + first[1] + y) * edge + first[2]) * parts;
            const float w = weight[0][x] * weight[1][y];

#pragma omp simd
            for (ptrdiff_t k = 0; k < row; k++) {
                sum[k] += w * in[k];
            }
        }
    }
    for (int z = 0; z < WIDTH; z++) {
        for (int e = 0; e < self->elements; e++) {
            real += weight[2][z] * factor[e] * sum[z * parts + 2 * e];
            imaginary += weight[2][z] * factor[e] * sum[z * parts + 2 * e + 1];
        }
    }
    return (float)(real * real + imaginary * imaginary);
}

void sp_particle_pattern(const sp_particle *particle, const sp_detector_map *map, sp_quat q, float *intensity)
{
    const sp_mat3 rotation = sp_quat_to_matrix(q);

    for (ptrdiff_t p = 0; p < map->pixels; p++) {
        double s[3];

        sp_mat3_apply_transpose(&rotation, map->position + 3 * p, s);
        intensity[p] = intensity_at(particle, s, particle->factor + p * particle->elements);
    }
}

float sp_particle_intensity(const sp_particle *particle, const sp_detector_map *map, ptrdiff_t pixel,
                            const double direction[3])
{
    const double *lab = map->position + 3 * pixel, length = hypot(hypot(lab[0], lab[1]), lab[2]);
    const double s[3] = {length * direction[0], length * direction[1], length * direction[2]};

    return intensity_at(particle, s, particle->factor + pixel * particle->elements);
}
