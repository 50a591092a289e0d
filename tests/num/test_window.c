/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>

#include "base/rng.h"
#include "num/window.h"
#include "testing.h"

enum { SAMPLES = 48, PLACES = 64 }; /* others than those of the design */

static double weight_of(const sp_window *window, int cell, double x)
{
    double value = 0.0;

    for (int d = 0; d <= window->degree; d++) {
        value += window->coefficient[cell][d] * pow(x, d);
    }
    return value;
}

/* <|e(x, f)|^2>_x, relative to `transform`: what a plane wave of frequency f reads at all places of a cell. */
static double error_at(const sp_window *window, double f, double transform)
{
    double sum = 0.0;

    for (int p = 0; p < PLACES; p++) {
        const double x = (2.0 * p + 1.0) / PLACES - 1.0;
        double real = 0.0, imaginary = 0.0;

        for (int cell = 0; cell < window->width; cell++) {
            const double away = cell - 0.5 * (window->width - 1) - 0.5 * x, value = weight_of(window, cell, x);

            real += value * cos(2.0 * M_PI * f * away) / transform;
            imaginary += value * sin(2.0 * M_PI * f * away) / transform;
        }
        sum += ((real - 1.0) * (real - 1.0) + imaginary * imaginary) / PLACES;
    }
    return sum;
}

/* Root mean square in three dimensions, for an autocorrelation of atoms in a ball: by adding up the volume that the
 * ball shares with itself, moved by (r, across). */
static double error_of(const sp_window *window, double sigma)
{
    double sum = 0.0, norm = 0.0;

    for (int i = 0; i < SAMPLES; i++) {
        const double r = (i + 0.5) / SAMPLES, f = 0.5 * r / sigma;
        double square = 0.0;

        for (int j = 0; j < SAMPLES; j++) {
            const double across = (j + 0.5) / SAMPLES, d = sqrt(r * r + across * across);

            square += d < 1.0 ? across * (1.0 - 1.5 * d + 0.5 * d * d * d) : 0.0;
        }
        sum += square * error_at(window, f, sp_window_transform(window, f));
        norm += square;
    }
    return sqrt(3.0 * sum / norm);
}

/* The window exp(beta (sqrt(1 - (2x/width)^2) - 1)), as polynomials through nine nodes of each cell. */
static double error_of_exponential(int width, double sigma, double beta)
{
    double sum = 0.0, norm = 0.0;

    for (int i = 0; i < SAMPLES; i++) {
        const double r = (i + 0.5) / SAMPLES, f = 0.5 * r / sigma,
                     square = 0.1 - r * r * (0.5 - r * (0.5 - 0.1 * r * r));
        double value[PLACES][2] = {{0.0}}, mean = 0.0, error = 0.0;

        for (int p = 0; p < PLACES; p++) {
            for (int cell = 0; cell < width; cell++) {
                const double away = cell - 0.5 * (width - 1) - (p + 0.5) / PLACES + 0.5, u = 2.0 * away / width;
                const double w = exp(beta * (sqrt(fmax(1.0 - u * u, 0.0)) - 1.0));

                value[p][0] += w * cos(2.0 * M_PI * f * away);
                value[p][1] += w * sin(2.0 * M_PI * f * away);
            }
            mean += value[p][0] / PLACES;
        }
        for (int p = 0; p < PLACES; p++) {
            error += (pow(value[p][0] / mean - 1.0, 2.0) + pow(value[p][1] / mean, 2.0)) / PLACES;
        }
        sum += square * error;
        norm += square;
    }
    return sqrt(3.0 * sum / norm);
}

static void windows_are_better_than_the_best_exponential(void **state)
{
    (void)state;
    static const struct {
        int width;
        double sigma, most; /* error */
        double times;       /* better */
    } claims[] = {{4, 1.25, 1.5e-3, 1.3}, {4, 1.6, 3.2e-4, 2.4}, {4, 2.0, 1e-4, 4.0},
                  {6, 1.25, 4.7e-5, 1.2}, {6, 1.6, 4.3e-6, 2.4}, {6, 2.0, 7.2e-7, 4.0}};

    for (size_t i = 0; i < sizeof claims / sizeof *claims; i++) {
        sp_window window;
        double best = INFINITY;

        sp_window_design(claims[i].width, claims[i].sigma, &window);
        for (double beta = 1.6; beta < 2.8; beta += 0.02) {
            best = fmin(best, error_of_exponential(claims[i].width, claims[i].sigma, beta * claims[i].width));
        }
        assert_true(error_of(&window, claims[i].sigma) < claims[i].most);
        assert_true(best > claims[i].times * error_of(&window, claims[i].sigma));
    }
}

/* In whatever direction the coefficients go, keeping the window even, the error grows. */
static void no_window_nearby_is_better(void **state)
{
    (void)state;
    const double sigma = 1.5, step = 1e-4;
    sp_rng rng = sp_rng_stream(4, 1, 0);

    for (int width = 4; width <= 6; width += 2) {
        sp_window best;

        sp_window_design(width, sigma, &best);
        const double least = error_of(&best, sigma);

        for (int trial = 0; trial < 20; trial++) {
            sp_window other = best;

            for (int cell = 0; cell < width / 2; cell++) {
                for (int d = 0; d <= best.degree; d++) {
                    const double change = step * sp_rng_normal(&rng);

                    other.coefficient[cell][d] += change;
                    other.coefficient[width - 1 - cell][d] += d % 2 ? -change : change;
                }
            }
            assert_true(error_of(&other, sigma) > least);
        }
    }
}

static void windows_are_even_and_1_in_the_middle(void **state)
{
    (void)state;
    for (int width = 4; width <= 6; width += 2) {
        for (double sigma = 1.02; sigma < 4.5; sigma *= 1.1) {
            sp_window window;

            sp_window_design(width, sigma, &window);
            assert_int_equal(window.width, width);
            assert_true(fabs(weight_of(&window, width / 2 - 1, -1.0) - 1.0) < 1e-12);
            for (int cell = 0; cell < width; cell++) {
                for (double x = -1.0; x <= 1.0; x += 0.25) {
                    const double value = weight_of(&window, cell, x);

                    assert_true(isfinite(value));
                    assert_true(fabs(value - weight_of(&window, width - 1 - cell, -x)) < 1e-12);
                }
            }
        }
    }
}

static void the_transform_is_the_integral(void **state)
{
    (void)state;
    enum { STEPS = 4000 };

    for (int width = 4; width <= 6; width += 2) {
        sp_window window;

        sp_window_design(width, 1.5, &window);
        for (double f = 0.0; f < 0.5; f += 0.1) {
            double sum = 0.0;

            for (int i = 0; i < width * STEPS; i++) { /* from the left end of the window to the right one */
                const double t = (i + 0.5) / STEPS, cell = floor(t);

                sum += weight_of(&window, (int)cell, 1.0 - 2.0 * (t - cell)) * cos(2.0 * M_PI * f * (t - 0.5 * width));
            }
            assert_true(fabs(sum / STEPS / sp_window_transform(&window, f) - 1.0) < 1e-6);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(windows_are_better_than_the_best_exponential),
        cmocka_unit_test(no_window_nearby_is_better),
        cmocka_unit_test(windows_are_even_and_1_in_the_middle),
        cmocka_unit_test(the_transform_is_the_integral),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
