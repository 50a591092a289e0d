/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* bench/experiment.h -- simulated images of a particle of random atoms, made in memory: what phases are timed on.
 *
 * The particle is of the size of a small protein, 34 kDa: 2400 atoms in a chain of four overlapping balls. The detector
 * is the default of `spica simulate`: 10 cm at 20 cm, 4.6 keV. Images hold photons, 20,000 each on average. */
#include <stddef.h>

#include "base/error.h"
#include "io/pdb.h"
#include "phases/patterns.h"
#include "physics/simulate.h"

typedef struct sp_experiment {
    sp_detector_map map;
    double distance; /* [m] of the detector */
    sp_atoms atoms;
    sp_species species;
    sp_simulation simulation;
    float *correction; /* [pixels] solid angle times polarisation */
    double diameter;   /* [m] of the particle */
    double s_max;      /* [1/m] at the corner */
} sp_experiment;

/* Of pixels x pixels. It must stay where it is: the simulation points into it. Release with sp_experiment_clear().
 * Fails with SP_ERR_MEMORY. */
sp_status sp_experiment_init(ptrdiff_t pixels, sp_experiment *experiment);
void sp_experiment_clear(sp_experiment *experiment);

/* The first `images` images, ready to be compared. Release with sp_patterns_clear(). Fails with SP_ERR_MEMORY. */
sp_status sp_experiment_patterns(const sp_experiment *experiment, ptrdiff_t images, sp_patterns *patterns);

/* The first `images` images in a file of the layout of io/images.h. Fails with SP_ERR_OUTPUT, SP_ERR_MEMORY. */
sp_status sp_experiment_write(const sp_experiment *experiment, ptrdiff_t images, const char *path);

/* The model that is true for these patterns: autocorrelation [edge][edge][edge], FFT order, of the particle's density
 * in voxels of 1 / (2.04 s_max), scaled to the patterns. autocorrelation  receives it; free with sp_array_free() edge,
 * voxel      of it: 2.3 diameters [voxel], [m] Fails with SP_ERR_MEMORY, SP_ERR_USAGE. */
sp_status sp_experiment_model(const sp_experiment *experiment, const sp_patterns *patterns, ptrdiff_t *edge,
                              double *voxel, float **autocorrelation);
