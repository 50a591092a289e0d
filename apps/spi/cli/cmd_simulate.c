/* SPDX-License-Identifier: BSD-3-Clause */
/* spica simulate -- diffraction images of randomly oriented molecules. */
#include <assert.h>
#include <math.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/files.h"
#include "base/interrupt.h"
#include "base/memory.h"
#include "base/progress.h"
#include "cli/commands.h"
#include "io/images.h"
#include "io/pdb.h"
#include "physics/detector.h"
#include "physics/simulate.h"

enum {
    BLOCK_BYTES = 16 << 20, /* of images in memory at a time */
    FEW_PHOTONS = 10,       /* an image of fewer cannot be oriented */
};

/* Everything that the command makes, owned here. */
typedef struct job {
    const sp_arguments *args;
    sp_log *log;
    sp_detector_map map;
    double distance;     /* [m] */
    sp_species *species; /* [structures] */
    int structures;
    ptrdiff_t images;
    double photons; /* expected per image */
    sp_simulation simulation;
} job;

static void clear(job *self)
{
    for (int i = 0; i < self->structures; i++) {
        sp_particle_free(self->species[i].particle);
    }
    sp_array_free(self->species);
    sp_detector_map_clear(&self->map);
}

/* ---- what to simulate ---- */

static sp_status make_detector(job *self)
{
    sp_status status = SP_OK;
    static const char *const square[] = {"pixels", "detector-size", "distance"};
    const sp_detector detector = {.pixels = (ptrdiff_t)sp_arguments_integer(self->args, "pixels"),
                                  .size = sp_arguments_real(self->args, "detector-size"),
                                  .distance = sp_arguments_real(self->args, "distance"),
                                  .panels = sp_arguments_text(self->args, "panels"),
                                  .energy = sp_arguments_real(self->args, "energy"),
                                  .beam_stop = sp_arguments_real(self->args, "beam-stop"),
                                  .mask = sp_arguments_text(self->args, "mask")};

    for (int i = 0; i < 3; i++) {
        SP_REQUIRE(!detector.panels || !sp_arguments_is_set(self->args, square[i]), SP_ERR_USAGE,
                   "--panels and --%s exclude each other: the panel file says where the pixels are", square[i]);
    }
    SP_TRY(sp_detector_map_new(&detector, &self->map, &self->distance));
    sp_log_info(self->log, "detector: %td x %td x %td pixels, %.2f A at the outermost corner, wavelength %.3f A",
                self->map.panels, self->map.height, self->map.width, 1e10 / sp_detector_extent(&self->map),
                1e10 * self->map.wavelength);
done:
    return status;
}

/* "FILE" or "FILE:WEIGHT"; *path is for sp_array_free(). */
static sp_status split_structure(const char *text, char **path, double *weight)
{
    sp_status status = SP_OK;
    const char *colon = strrchr(text, ':');
    const char *number = colon ? colon + 1 : "";
    char *copy = NULL;
    size_t length = strlen(text);

    *weight = 1.0;
    if (*number && number[strspn(number, "0123456789+-.eE")] == '\0') { /* else the colon belongs to the name */
        char *end = NULL;

        *weight = strtod(number, &end);
        SP_REQUIRE(*end == '\0' && isfinite(*weight) && *weight > 0.0, SP_ERR_USAGE,
                   "--structure %s: the weight '%s' is not a positive number", text, number);
        length = (size_t)(colon - text);
    }
    SP_TRY(SP_ARRAY(copy, (ptrdiff_t)length + 1));
    snprintf(copy, length + 1, "%s", text); /* the path only */
    *path = copy;
done:
    return status;
}

static sp_status make_species(job *self, const char *text, int i)
{
    sp_status status = SP_OK;
    char *path = NULL;
    sp_atoms atoms = {0};

    SP_TRY(split_structure(text, &path, &self->species[i].weight));
    SP_TRY(sp_pdb_read(path, (int)sp_arguments_integer(self->args, "assembly"), &atoms));
    SP_TRY(sp_particle_new(&atoms, &self->map, &self->species[i].particle));
    const double diameter = sp_particle_diameter(self->species[i].particle);
    const double spacing = sp_detector_spacing(&self->map);
    sp_log_info(self->log, "structure %d: %s, %td atoms, diameter %.1f A", i, path, atoms.count, 1e10 * diameter);
    if (2.0 * spacing * diameter > 1.0) {
        sp_log_warning(self->log,
                       "%s: its speckles (%.3g pixels) are smaller than 2 pixels; use more pixels or a larger "
                       "distance",
                       path, 1.0 / (spacing * diameter));
    }
done:
    sp_atoms_clear(&atoms);
    sp_array_free(path);
    return status;
}

static sp_status make_mixture(job *self)
{
    sp_status status = SP_OK;
    const char *const *text = NULL;
    const ptrdiff_t count = sp_arguments_list(self->args, "structure", &text);

    SP_REQUIRE(count > 0, SP_ERR_USAGE, "no molecule given; use --structure FILE.pdb");
    SP_TRY(SP_ARRAY(self->species, count));
    self->structures = (int)count;
    for (int i = 0; i < self->structures; i++) {
        SP_TRY(make_species(self, text[i], i));
    }
done:
    return status;
}

/* The fluence, as given or such that the images hold the wanted number of photons. */
static sp_status set_fluence(job *self)
{
    sp_status status = SP_OK;
    double photons_per_fluence = 0.0;
    const bool counted = sp_arguments_is_set(self->args, "photons");

    SP_TRY(sp_simulation_photons_per_fluence(&self->simulation, &photons_per_fluence));
    SP_REQUIRE(photons_per_fluence > 0.0, SP_ERR_NUMERIC, "the good pixels receive no light from these molecules");
    self->simulation.fluence = counted ? sp_arguments_real(self->args, "photons") / photons_per_fluence
                                       : sp_arguments_real(self->args, "fluence");
    self->photons = self->simulation.fluence * photons_per_fluence;
    sp_log_info(self->log, "fluence %.3g photons/m^2: %.4g photons per image on average", self->simulation.fluence,
                self->photons);
    if (self->simulation.poisson && self->photons < FEW_PHOTONS) {
        sp_log_warning(self->log, "images of %.3g photons can hardly be oriented; raise --%s", self->photons,
                       counted ? "photons" : "fluence");
    }
done:
    return status;
}

/* Spread over the good pixels by their solid angle. */
static void set_background(job *self)
{
    double solid_angle = 0.0; /* [sr] */

    for (ptrdiff_t p = 0; p < self->map.pixels; p++) {
        solid_angle += self->map.bad[p] ? 0.0 : self->map.solid_angle[p];
    }
    self->simulation.background = sp_arguments_real(self->args, "background") / solid_angle;
}

static sp_status make_simulation(job *self)
{
    sp_status status = SP_OK;
    const bool counted = sp_arguments_is_set(self->args, "photons");

    SP_REQUIRE(!counted || !sp_arguments_is_set(self->args, "fluence"), SP_ERR_USAGE,
               "--photons and --fluence exclude each other: one follows from the other");
    SP_TRY(make_detector(self));
    SP_TRY(make_mixture(self));
    self->images = (ptrdiff_t)sp_arguments_integer(self->args, "images");
    self->simulation = (sp_simulation){.map = &self->map,
                                       .species = self->species,
                                       .structures = self->structures,
                                       .spread = sp_arguments_real(self->args, "fluence-spread"),
                                       .poisson = counted || sp_arguments_flag(self->args, "poisson"),
                                       .seed = (uint64_t)sp_arguments_integer(self->args, "seed")};
    SP_TRY(set_fluence(self));
    set_background(self);
done:
    return status;
}

/* ---- files ---- */

static sp_status write_truth(const job *self, sp_image_writer *writer)
{
    sp_status status = SP_OK;
    double *orientation = NULL, *fluence = NULL;
    int32_t *structure = NULL;

    SP_TRY(SP_ARRAY(orientation, 4 * self->images));
    SP_TRY(SP_ARRAY(fluence, self->images));
    SP_TRY(SP_ARRAY(structure, self->images));
    for (ptrdiff_t i = 0; i < self->images; i++) {
        const sp_shot shot = sp_simulation_shot(&self->simulation, i);
        const double q[4] = {shot.orientation.w, shot.orientation.x, shot.orientation.y, shot.orientation.z};

        memcpy(orientation + 4 * i, q, sizeof q);
        fluence[i] = shot.fluence;
        structure[i] = shot.structure;
    }
    SP_TRY(sp_image_writer_truth(writer, orientation, fluence, structure));
done:
    sp_array_free(structure);
    sp_array_free(fluence);
    sp_array_free(orientation);
    return status;
}

/* Images held in memory at a time. */
static ptrdiff_t block_size(const job *self)
{
    assert(self->map.pixels > 0);
    const ptrdiff_t fitting = BLOCK_BYTES / (ptrdiff_t)sizeof(float) / self->map.pixels;
    const ptrdiff_t busy = omp_get_max_threads(); /* each thread makes whole images */
    const ptrdiff_t block = fitting > busy ? fitting : busy;

    return block < self->images ? block : self->images;
}

static sp_status write_images(const job *self, sp_image_writer *writer)
{
    sp_status status = SP_OK;
    sp_progress *progress = NULL;
    float *intensity = NULL;
    const ptrdiff_t block = block_size(self);

    SP_TRY(SP_ARRAY(intensity, block * self->map.pixels));
    SP_TRY(sp_progress_new(self->log, "simulating", self->images, &progress));
    for (ptrdiff_t first = 0; first < self->images; first += block) {
        const ptrdiff_t count = first + block < self->images ? block : self->images - first;

        sp_simulation_images(&self->simulation, first, count, intensity);
        SP_REQUIRE(!sp_interrupted(), SP_ERR_INTERRUPT, "stopped after %td of %td images; no file was left", first,
                   self->images);
        SP_TRY(sp_image_writer_put(writer, first, count, intensity));
        sp_progress_add(progress, count);
    }
done:
    sp_progress_free(progress);
    sp_array_free(intensity);
    return status;
}

static sp_status write_file(const job *self, const char *path)
{
    sp_status status = SP_OK;
    sp_image_writer *writer = NULL;
    sp_text command = {0};

    sp_arguments_write(self->args, &command);
    SP_TRY(sp_text_check(&command));
    SP_TRY(sp_image_writer_new(path, &self->map, self->images, sp_detector_extent(&self->map), self->distance,
                               sp_text_string(&command), &writer));
    SP_TRY(write_truth(self, writer));
    SP_TRY(write_images(self, writer));
    status = sp_image_writer_commit_take(writer);
    writer = NULL;
    SP_TRY(status);
    sp_log_info(self->log, "wrote %s: %td images", path, self->images);
done:
    sp_image_writer_abort(writer);
    sp_text_clear(&command);
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    job self = {.args = args, .log = log};
    const char *path = sp_arguments_text(args, "output");

    SP_REQUIRE(!sp_file_exists(path) || sp_arguments_flag(args, "force"), SP_ERR_OUTPUT,
               "%s is already there; choose another --output, or --force to replace it", path);
    SP_TRY(make_simulation(&self));
    SP_TRY(write_file(&self, path));
done:
    clear(&self);
    return status;
}

/* ---- tables ---- */

static const sp_option options[] = {
    {.name = "structure",
     .type = SP_OPTION_LIST,
     .unit = "FILE[:WEIGHT]",
     .help = "molecule to show, a PDB file, plain or .gz; several make a mixture, WEIGHT is the share of images that "
             "show this one (1 if left out)"},
    {.name = "assembly",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 10000,
     .fallback = "0",
     .help = "biological assembly to build (REMARK 350 of the PDB file); 0: the atoms as they stand"},
    {.name = "images",
     .letter = 'n',
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 1e8,
     .fallback = "1000",
     .help = "number of images"},
    {.name = "pixels",
     .type = SP_OPTION_INTEGER,
     .minimum = 1,
     .maximum = 32768,
     .fallback = "128",
     .help = "pixels along an edge of the square detector"},
    {.name = "detector-size",
     .type = SP_OPTION_REAL,
     .unit = "m",
     .minimum = 1e-6,
     .maximum = 100,
     .fallback = "0.1",
     .help = "edge of the square detector"},
    {.name = "distance",
     .type = SP_OPTION_REAL,
     .unit = "m",
     .minimum = 1e-6,
     .maximum = 1000,
     .fallback = "0.2",
     .help = "from the molecule to the square detector"},
    {.name = "panels",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .help =
         "detector of several panels instead of a square; one line each: panel NAME, then corner x y z, fast step x "
         "y z, slow step x y z (from pixel to pixel), all in m from the molecule, then width and height in pixels"},
    {.name = "energy",
     .type = SP_OPTION_REAL,
     .unit = "eV",
     .minimum = 1,
     .maximum = 1e6,
     .fallback = "4600",
     .help = "photon energy"},
    {.name = "photons",
     .type = SP_OPTION_REAL,
     .unit = "photons",
     .minimum = 1e-6,
     .maximum = 1e9,
     .automatic = "from the fluence",
     .help = "mean number of photons per image in the good pixels, with Poisson noise"},
    {.name = "fluence",
     .type = SP_OPTION_REAL,
     .unit = "photons/m^2",
     .minimum = 1e10,
     .maximum = 1e36,
     .fallback = "1.27e24",
     .help = "photons per area at the molecule; 1.27e24 is 1e12 photons in a focus of 1 um"},
    {.name = "fluence-spread",
     .type = SP_OPTION_REAL,
     .minimum = 0,
     .maximum = 10,
     .fallback = "0",
     .help = "relative standard deviation of the fluence from shot to shot (log-normal)"},
    {.name = "background",
     .type = SP_OPTION_REAL,
     .unit = "photons",
     .minimum = 0,
     .maximum = 1e9,
     .fallback = "0",
     .help = "mean number of photons per image that do not come from the molecule, the same in all directions"},
    {.name = "poisson",
     .type = SP_OPTION_FLAG,
     .help = "draw photon counts (always with --photons); otherwise images hold the expected number of photons"},
    {.name = "beam-stop",
     .type = SP_OPTION_REAL,
     .unit = "pixels",
     .minimum = 0,
     .maximum = 32768,
     .fallback = "0",
     .help = "pixels closer to the beam than this are bad"},
    {.name = "mask",
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .help = "bad pixels: one byte per pixel, non-zero is bad, or an HDF5 file with the dataset mask"},
    {.name = "seed",
     .type = SP_OPTION_INTEGER,
     .minimum = 0,
     .maximum = 9007199254740992.0,
     .fallback = "1",
     .help = "of the random numbers; image i of a seed is the same whatever the number of images and threads"},
    {.name = "output",
     .letter = 'o',
     .type = SP_OPTION_TEXT,
     .unit = "FILE",
     .fallback = "images.h5",
     .help = "image file to write"},
    {.name = "force", .letter = 'f', .type = SP_OPTION_FLAG, .help = "replace the image file if it is already there"},
    {0},
};

const sp_command sp_command_simulate = {
    .name = "simulate",
    .summary = "make diffraction images of randomly oriented molecules",
    .options = options,
    .examples = "spica simulate --structure examples/2cex.pdb.gz --images 1000 --photons 5000 -o images.h5\n"
                "spica simulate --structure open.pdb:3 --structure closed.pdb:1 --fluence-spread 0.2 -o mixture.h5\n",
    .run = run,
};
