/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* physics/scattering.h -- how strongly a free neutral atom scatters X-rays: f0 in electrons.
 *
 * D. Waasmaier, A. Kirfel, Acta Cryst. A51 (1995) 416-431: f0(x) = c + sum_{i=1..5} a_i exp(-b_i x^2) with
 * x = sin(theta)/lambda = |s|/2. No anomalous terms, no thermal motion. */

enum { SP_SCATTERING_ELEMENTS = 98 }; /* atomic numbers 1 .. 98 */

/* f0 of one atom [electrons].
 *   element  atomic number, 1 .. SP_SCATTERING_ELEMENTS
 *   s        length of the scattering vector, 2 sin(theta)/lambda [1/m]; the fit holds up to 12e10 / m
 * Cannot fail. */
double sp_scattering_factor(int element, double s);
