/* SPDX-License-Identifier: BSD-3-Clause */
#include "num/window.h"

#include <math.h>
#include <string.h>

enum {
    HALF = SP_WINDOW_CELLS / 2,
    MOST = HALF * (SP_WINDOW_DEGREE + 1), /* coefficients of half a window */
    FREQUENCIES = 40,                     /* samples of f */
    PLACES = 32,                          /* samples of x */
    ROUNDS = 8,
    PANELS = 32, /* of a cell, to integrate over */
};

static const double ROUNDING = 6e-8; /* of weights in single precision, relative: no window needs to be better */

/* What the sum over the stencil is made of, at one frequency: [place][real, imaginary][coefficient]. */
typedef struct response {
    double part[PLACES][2][MOST];
    double mean[MOST]; /* over the places; times the coefficients: the transform at this frequency */
} response;

/* Powers of x across the middle cell, with the phase of the cell they weigh. Cells of the other half are mirror images.
 */
static void respond(int width, int terms, double f, response *out)
{
    memset(out, 0, sizeof *out);
    for (int p = 0; p < PLACES; p++) {
        const double x = (2 * p + 1.0) / PLACES - 1.0;

        for (int i = 0; i < width; i++) {
            const int cell = i < width / 2 ? i : width - 1 - i;
            const double phase = 2.0 * M_PI * f * (i - 0.5 * (width - 1) - 0.5 * x), place = i == cell ? x : -x;
            double power = 1.0;

            for (int d = 0; d < terms; d++, power *= place) {
                out->part[p][0][cell * terms + d] += power * cos(phase);
                out->part[p][1][cell * terms + d] += power * sin(phase);
            }
        }
        for (int k = 0; k < width / 2 * terms; k++) {
            out->mean[k] += out->part[p][0][k] / PLACES;
        }
    }
    for (int p = 0; p < PLACES; p++) { /* what remains is the error */
        for (int k = 0; k < width / 2 * terms; k++) {
            out->part[p][0][k] -= out->mean[k];
        }
    }
}

static double dot(const double *a, const double *b, int count)
{
    double sum = 0.0;

    for (int i = 0; i < count; i++) {
        sum += a[i] * b[i];
    }
    return sum;
}

/* Mean square, up to a factor, of the autocorrelation of a random set of atoms in a ball at distance r from the middle
 * along one axis, r = 1 where it ends. Its profile is the volume that the ball shares with itself, moved:
 * 1 - 3/2 r + 1/2 r^3; this is the integral over the other two axes. */
static double prior(double r)
{
    return 0.1 - r * r * (0.5 - r * (0.5 - 0.1 * r * r));
}

/* The normal equations of one round: the error is |part . c|^2 / (mean . c)^2, whose gradient vanishes where
 *     sum_f p [part part^T] / t^2 c = sum_f p e / t^3 mean      with t = mean . c,  e = |part . c|^2 of the last round.
 */
typedef struct equations {
    double matrix[MOST][MOST], right[MOST];
} equations;

static void add_frequency(const response *at, double weight, const double *c, int count, equations *sum)
{
    const double t = dot(at->mean, c, count);
    double error = 0.0;

    for (int p = 0; p < 2 * PLACES; p++) {
        const double *part = at->part[p / 2][p % 2];
        const double deviation = dot(part, c, count);

        error += deviation * deviation / PLACES;
        for (int i = 0; i < count; i++) {
            for (int j = 0; j <= i; j++) {
                sum->matrix[i][j] += weight / (t * t) / PLACES * part[i] * part[j];
            }
        }
    }
    for (int i = 0; i < count; i++) {
        sum->matrix[i][i] += weight / (t * t) * ROUNDING * ROUNDING;
        sum->right[i] += weight * error / (t * t * t) * at->mean[i];
    }
}

/* right = matrix^-1 right, by Cholesky's factors of the lower half. */
static void solve(equations *e, int count)
{
    for (int i = 0; i < count; i++) {
        for (int j = 0; j <= i; j++) {
            const double rest = e->matrix[i][j] - dot(e->matrix[i], e->matrix[j], j);

            e->matrix[i][j] = i == j ? sqrt(rest) : rest / e->matrix[j][j];
        }
        e->right[i] = (e->right[i] - dot(e->matrix[i], e->right, i)) / e->matrix[i][i];
    }
    for (int i = count - 1; i >= 0; i--) {
        for (int j = i + 1; j < count; j++) {
            e->right[i] -= e->matrix[j][i] * e->right[j];
        }
        e->right[i] /= e->matrix[i][i];
    }
}

/* Half a window -> all of it. */
static void unfold(const double *c, sp_window *window)
{
    const int width = window->width, terms = window->degree + 1;
    const double *middle = c + (width / 2 - 1) * terms;
    double top = 0.0;

    for (int d = 0; d < terms; d++) {
        top += d % 2 ? -middle[d] : middle[d]; /* phi(0) */
    }
    for (int i = 0; i < width / 2; i++) {
        for (int d = 0; d < terms; d++) {
            window->coefficient[i][d] = c[i * terms + d] / top;
            window->coefficient[width - 1 - i][d] = (d % 2 ? -1.0 : 1.0) * window->coefficient[i][d];
        }
    }
}

void sp_window_design(int width, double sigma, sp_window *window)
{
    const int terms = sp_window_degree(width) + 1, count = width / 2 * terms;
    double c[MOST] = {0.0};
    response at;
    equations e;

    *window = (sp_window){.width = width, .degree = terms - 1};
    for (int i = 0; i < width / 2; i++) { /* stairs: whatever they are, the first round mends it */
        c[i * terms] = i + 0.5;
    }
    for (int round = 0; round < ROUNDS; round++) {
        memset(&e, 0, sizeof e);
        for (int i = 0; i < FREQUENCIES; i++) {
            const double r = (i + 0.5) / FREQUENCIES;

            respond(width, terms, 0.5 * r / sigma, &at);
            add_frequency(&at, prior(r), c, count, &e);
        }
        solve(&e, count);
        unfold(e.right, window);
        memcpy(c, e.right, sizeof c);
    }
}

double sp_window_transform(const sp_window *window, double f)
{
    static const double node[2] = {-0.5773502691896257, 0.5773502691896257}; /* Gauss-Legendre, 2 points */
    double sum = 0.0;

    for (int i = 0; i < window->width; i++) {
        for (int p = 0; p < 2 * PANELS; p++) {
            const double x = (2 * (p / 2) + 1.0 + node[p % 2]) / PANELS - 1.0;
            double value = 0.0;

            for (int d = window->degree; d >= 0; d--) {
                value = value * x + window->coefficient[i][d];
            }
            sum += value * cos(2.0 * M_PI * f * (i - 0.5 * (window->width - 1) - 0.5 * x));
        }
    }
    return sum / (2.0 * PANELS);
}
