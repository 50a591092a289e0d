/* SPDX-License-Identifier: BSD-3-Clause */
/* spica info -- what a file contains, for people or, with --json, for programs. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/files.h"
#include "base/memory.h"
#include "cli/commands.h"
#include "cli/findings.h"
#include "io/h5.h"
#include "io/images.h"
#include "io/mrc.h"
#include "io/pdb.h"

static const double ANGSTROM = 1e-10;       /* [m] */
static const double HC = 1.23984198433e-6;  /* [eV m] Planck's constant times the speed of light (CODATA 2018) */
static const ptrdiff_t SAMPLED_IMAGES = 64; /* read to tell how many photons an image has */
enum { LABEL_WIDTH = 14, TREE_LINES = 40, LAST_ELEMENT = 98, SHAPE_LENGTH = 160 };

/* What is looked at, and what was found: lines in Angstrom, JSON in SI units. */
typedef struct report {
    sp_findings found;
    const char *path;
    int datasets; /* counted by show_dataset() */
    sp_h5 *h5;    /* the file whose datasets are shown */
} report;

static void title(report *out, const char *kind, const char *words)
{
    sp_text_append(&out->found.lines, "%s: %s\n", out->path, words);
    sp_json_text(&out->found.json, "kind", kind);
}

/* ---- images ---- */

typedef struct photons {
    ptrdiff_t sampled;
    double mean, least, most; /* sum over the good pixels of an image, unit of the file */
    bool whole;               /* every pixel a whole number */
} photons;

/* Up to SAMPLED_IMAGES images, evenly spread over the file. */
static sp_status sample_photons(sp_image_file *file, photons *out)
{
    sp_status status = SP_OK;
    const ptrdiff_t count = sp_image_file_count(file), pixels = sp_image_file_map(file)->pixels;
    float *image = NULL;

    *out = (photons){.sampled = count < SAMPLED_IMAGES ? count : SAMPLED_IMAGES, .least = INFINITY, .whole = true};
    SP_TRY(SP_ARRAY(image, pixels));
    for (ptrdiff_t n = 0; n < out->sampled; n++) {
        double sum = 0.0;

        SP_TRY(sp_image_file_read(file, n * count / out->sampled, 1, image));
        for (ptrdiff_t i = 0; i < pixels; i++) {
            sum += image[i];
            out->whole = out->whole && image[i] == rintf(image[i]);
        }
        out->mean += sum / (double)out->sampled;
        out->least = fmin(out->least, sum);
        out->most = fmax(out->most, sum);
    }
done:
    sp_array_free(image);
    return status;
}

/* d = 1/|s| [m] at the corner (farthest pixel), and at the edge: on the largest circle around the beam that the
 * detector covers on all sides; 0 where there is no such circle. */
static void find_resolution(const sp_detector_map *map, double *edge, double *corner)
{
    const double k = map->wavelength > 0.0 ? 1.0 / map->wavelength : 0.0;
    double reach[4] = {0.0}, farthest = 0.0, side = INFINITY;

    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        const double *s = map->position + 3 * i;

        if (!map->bad[i]) {
            farthest = fmax(farthest, sqrt(s[0] * s[0] + s[1] * s[1] + s[2] * s[2]));
            for (int axis = 0; axis < 2; axis++) {
                reach[axis] = fmax(reach[axis], s[axis]);
                reach[axis + 2] = fmax(reach[axis + 2], -s[axis]);
            }
        }
    }
    for (int i = 0; i < 4; i++) {
        side = fmin(side, reach[i]);
    }
    if (k > 0.0) { /* from the distance to the beam to |s|, on the sphere */
        side = sqrt(2.0 * k * (k - sqrt(fmax(0.0, k * k - side * side))));
    }
    *edge = side > 0.0 ? 1.0 / side : 0.0;
    *corner = 1.0 / farthest;
}

static void show_detector(const sp_detector_map *map, report *out)
{
    ptrdiff_t bad = 0;

    for (ptrdiff_t i = 0; i < map->pixels; i++) {
        bad += map->bad[i];
    }
    sp_findings_line(&out->found, "detector", "%td panel%s of %td x %td pixels (rows x columns), %td bad (%.2g %%)",
                     map->panels, map->panels == 1 ? "" : "s", map->height, map->width, bad,
                     100.0 * (double)bad / (double)map->pixels);
    sp_json_integer(&out->found.json, "panels", map->panels);
    sp_json_integer(&out->found.json, "height", map->height);
    sp_json_integer(&out->found.json, "width", map->width);
    sp_json_integer(&out->found.json, "bad_pixels", bad);
}

static void show_optics(const sp_detector_map *map, report *out)
{
    double edge = 0.0, corner = 0.0;
    char text[64] = "the beam is not inside the detector";

    find_resolution(map, &edge, &corner);
    if (map->wavelength > 0.0) {
        sp_findings_line(&out->found, "wavelength", "%.4g Angstrom, %.0f eV", map->wavelength / ANGSTROM,
                         HC / map->wavelength);
    } else {
        sp_findings_line(&out->found, "wavelength", "not in the file: the pixels lie in a plane through the origin");
    }
    if (edge > 0.0) {
        snprintf(text, sizeof text, "%.3g Angstrom at the edge", edge / ANGSTROM);
    }
    sp_findings_line(&out->found, "resolution", "%s, %.3g at the corner", text, corner / ANGSTROM);
    sp_json_real(&out->found.json, "wavelength", map->wavelength > 0.0 ? map->wavelength : NAN);
    sp_json_real(&out->found.json, "energy_eV", map->wavelength > 0.0 ? HC / map->wavelength : NAN);
    sp_json_real(&out->found.json, "resolution_edge", edge > 0.0 ? edge : NAN);
    sp_json_real(&out->found.json, "resolution_corner", corner);
}

static void show_photons(const photons *sum, const char *type, report *out)
{
    sp_findings_line(&out->found, "numbers", "%s, %s", type,
                     sum->whole ? "whole numbers: photon counts" : "with fractions");
    sp_findings_line(&out->found, "per image", "%.4g (%.4g to %.4g, from %td image%s)", sum->mean, sum->least,
                     sum->most, sum->sampled, sum->sampled == 1 ? "" : "s");
    sp_json_text(&out->found.json, "type", type);
    sp_json_flag(&out->found.json, "whole_numbers", sum->whole);
    sp_json_object(&out->found.json, "sum_per_image");
    sp_json_integer(&out->found.json, "images_sampled", sum->sampled);
    sp_json_real(&out->found.json, "mean", sum->mean);
    sp_json_real(&out->found.json, "least", sum->least);
    sp_json_real(&out->found.json, "most", sum->most);
    sp_json_end(&out->found.json);
}

/* Which of these datasets the file has: "a, b" or `none`. */
static void show_present(sp_h5 *h5, const char *label, const char *key, const char *const *names, report *out)
{
    char text[128] = "";

    sp_json_array(&out->found.json, key);
    for (; *names; names++) {
        if (sp_h5_exists(h5, *names)) {
            const size_t used = strlen(text);

            snprintf(text + used, sizeof text - used, "%s%s", used > 0 ? ", " : "", *names);
            sp_json_text(&out->found.json, NULL, *names);
        }
    }
    sp_json_end(&out->found.json);
    sp_findings_line(&out->found, label, "%s", *text ? text : "none");
}

static sp_status show_images(report *out)
{
    static const char *const corrections[] = {"polarization", "solid_angle", NULL};
    static const char *const optional[] = {"mask", "pixel_index_map", NULL};
    static const char *const truth[] = {"orientations", "conformations", "fluences", "volume", NULL};
    sp_status status = SP_OK;
    sp_image_file *file = NULL;
    sp_h5_info info = {0};
    photons sum;

    SP_TRY(sp_image_file_open(out->path, &file));
    SP_TRY(sp_h5_get_info(out->h5, sp_h5_exists(out->h5, "intensities") ? "intensities" : "photons", &info));
    SP_TRY(sample_photons(file, &sum));
    title(out, "images", "diffraction images");
    sp_findings_line(&out->found, "images", "%td", sp_image_file_count(file));
    sp_json_integer(&out->found.json, "images", sp_image_file_count(file));
    show_detector(sp_image_file_map(file), out);
    show_optics(sp_image_file_map(file), out);
    show_photons(&sum, info.type, out);
    show_present(out->h5, "corrections", "corrections", corrections, out);
    show_present(out->h5, "also there", "optional", optional, out);
    show_present(out->h5, "truth", "truth", truth, out);
done:
    sp_image_file_close(file);
    return status;
}

/* ---- other HDF5 files ---- */

/* A line and a JSON object per dataset; single numbers with their value. */
static sp_status show_dataset(void *context, const char *name, const sp_h5_info *info)
{
    report *out = context;
    char shape[SHAPE_LENGTH], text[40] = "";
    double extent[SP_H5_RANK], value = 0.0;

    for (int i = 0; i < info->rank; i++) {
        extent[i] = (double)info->shape[i];
    }
    sp_json_object(&out->found.json, NULL);
    sp_json_text(&out->found.json, "name", name);
    sp_json_text(&out->found.json, "type", info->type);
    sp_json_reals(&out->found.json, "shape", extent, info->rank);
    if (info->rank == 0 && sp_h5_read_double(out->h5, name, 0, NULL, &value) == SP_OK) {
        snprintf(text, sizeof text, " = %g", value);
        sp_json_real(&out->found.json, "value", value);
    }
    sp_json_end(&out->found.json);
    if (out->datasets++ < TREE_LINES) {
        sp_text_append(&out->found.lines, "  %-8s %-20s %s%s\n", info->type,
                       sp_h5_shape_text(info->rank, info->shape, sizeof shape, shape), name, text);
    }
    return SP_OK;
}

/* The settings of the run, if the file keeps them. */
static sp_status show_config(const char *name, report *out)
{
    sp_status status = SP_OK;
    char *config = NULL;

    SP_TRY(sp_h5_read_string(out->h5, name, &config));
    sp_json_text(&out->found.json, "config", config);
    sp_text_append(&out->found.lines, "  %s:\n", name);
    for (const char *text = config; *text;) {
        const int length = (int)strcspn(text, "\n");

        sp_text_append(&out->found.lines, "    %.*s\n", length, text);
        text += length + (text[length] == '\n');
    }
done:
    sp_array_free(config);
    return status;
}

static sp_status show_tree(report *out)
{
    static const char *const configs[] = {"config", "result/config"};
    sp_status status = SP_OK;
    const bool result = sp_h5_exists(out->h5, "result");

    title(out, result ? "result" : "hdf5",
          result ? "result of a reconstruction" : "HDF5 file of a kind that spica does not read");
    sp_json_array(&out->found.json, "datasets");
    SP_TRY(sp_h5_visit(out->h5, show_dataset, out));
    sp_json_end(&out->found.json);
    if (out->datasets > TREE_LINES) {
        sp_text_append(&out->found.lines, "  ... and %d more, see --json\n", out->datasets - TREE_LINES);
    }
    for (int i = 0; i < 2; i++) {
        if (sp_h5_exists(out->h5, configs[i])) {
            SP_TRY(show_config(configs[i], out));
            break;
        }
    }
done:
    return status;
}

static sp_status show_h5(report *out)
{
    sp_status status = SP_OK;
    const bool images = sp_h5_exists(out->h5, "intensities") || sp_h5_exists(out->h5, "photons");

    SP_TRY(images ? show_images(out) : show_tree(out));
done:
    return status;
}

/* ---- maps ---- */

typedef struct statistics {
    double mean, rms, least, most;
} statistics;

static statistics map_statistics(const sp_map *map)
{
    const ptrdiff_t count = map->n[0] * map->n[1] * map->n[2];
    statistics out = {.least = INFINITY, .most = -INFINITY};

    for (ptrdiff_t i = 0; i < count; i++) {
        out.mean += map->value[i] / (double)count;
        out.least = fmin(out.least, map->value[i]);
        out.most = fmax(out.most, map->value[i]);
    }
    for (ptrdiff_t i = 0; i < count; i++) { /* about the mean, as viewers mean it when they contour at 3 sigma */
        out.rms += (map->value[i] - out.mean) * (map->value[i] - out.mean) / (double)count;
    }
    out.rms = sqrt(out.rms);
    return out;
}

static void show_labels(const sp_map *map, report *out)
{
    sp_json_array(&out->found.json, "labels");
    for (int i = 0; i < SP_MAP_LABELS; i++) {
        if (*map->label[i]) {
            sp_findings_line(&out->found, "label", "%s", map->label[i]);
            sp_json_text(&out->found.json, NULL, map->label[i]);
        }
    }
    sp_json_end(&out->found.json);
}

static void show_map(const sp_map *map, report *out)
{
    const statistics value = map_statistics(map);
    const double *voxel = map->voxel, *origin = map->origin;
    const double grid[] = {(double)map->n[0], (double)map->n[1], (double)map->n[2]};
    const double box[] = {grid[0] * voxel[0], grid[1] * voxel[1], grid[2] * voxel[2]};

    title(out, "map", "density map (MRC)");
    sp_findings_line(&out->found, "grid", "%td x %td x %td voxels, %s", map->n[0], map->n[1], map->n[2], map->number);
    sp_findings_line(&out->found, "voxel", "%.4g x %.4g x %.4g Angstrom%s", voxel[0] / ANGSTROM, voxel[1] / ANGSTROM,
                     voxel[2] / ANGSTROM, map->scaled ? "" : " (assumed: the file gives no cell)");
    sp_findings_line(&out->found, "box", "%.4g x %.4g x %.4g Angstrom", box[0] / ANGSTROM, box[1] / ANGSTROM,
                     box[2] / ANGSTROM);
    sp_findings_line(&out->found, "first voxel", "at %.4g, %.4g, %.4g Angstrom", origin[0] / ANGSTROM,
                     origin[1] / ANGSTROM, origin[2] / ANGSTROM);
    sp_findings_line(&out->found, "values", "%.4g to %.4g, mean %.4g, sigma %.4g", value.least, value.most, value.mean,
                     value.rms);
    sp_json_reals(&out->found.json, "grid", grid, 3);
    sp_json_text(&out->found.json, "type", map->number);
    sp_json_reals(&out->found.json, "voxel", voxel, 3);
    sp_json_flag(&out->found.json, "voxel_known", map->scaled);
    sp_json_reals(&out->found.json, "box", box, 3);
    sp_json_reals(&out->found.json, "origin", origin, 3);
    sp_json_real(&out->found.json, "least", value.least);
    sp_json_real(&out->found.json, "most", value.most);
    sp_json_real(&out->found.json, "mean", value.mean);
    sp_json_real(&out->found.json, "rms", value.rms);
    show_labels(map, out);
}

static sp_status show_mrc(report *out)
{
    sp_status status = SP_OK;
    sp_map map = {0};

    SP_TRY(sp_mrc_read(out->path, &map));
    show_map(&map, out);
done:
    sp_map_clear(&map);
    return status;
}

/* ---- molecules ---- */

/* Twice the largest distance of an atom from the centre of electrons [m]. */
static double find_diameter(const sp_atoms *atoms)
{
    double centre[3] = {0.0}, electrons = 0.0, largest = 0.0;

    for (ptrdiff_t i = 0; i < atoms->count; i++) {
        const sp_atom *atom = &atoms->atom[i];

        electrons += atom->occupancy * atom->element;
        for (int axis = 0; axis < 3; axis++) {
            centre[axis] += atom->occupancy * atom->element * atom->position[axis];
        }
    }
    for (ptrdiff_t i = 0; i < atoms->count; i++) {
        double square = 0.0;

        for (int axis = 0; axis < 3; axis++) {
            square += pow(atoms->atom[i].position[axis] - centre[axis] / electrons, 2.0);
        }
        largest = fmax(largest, square);
    }
    return 2.0 * sqrt(largest);
}

/* Symbols of the elements that life is made of; the others are given by their number. */
static void element_text(int element, size_t size, char *text)
{
    static const struct {
        int element;
        const char *symbol;
    } common[] = {{1, "H"},   {6, "C"},   {7, "N"},   {8, "O"},   {11, "Na"}, {12, "Mg"}, {15, "P"},
                  {16, "S"},  {17, "Cl"}, {19, "K"},  {20, "Ca"}, {25, "Mn"}, {26, "Fe"}, {27, "Co"},
                  {28, "Ni"}, {29, "Cu"}, {30, "Zn"}, {34, "Se"}, {53, "I"}};

    snprintf(text, size, "Z=%d", element);
    for (size_t i = 0; i < sizeof common / sizeof *common; i++) {
        if (common[i].element == element) {
            snprintf(text, size, "%s", common[i].symbol);
        }
    }
}

static void show_elements(const sp_atoms *atoms, report *out)
{
    ptrdiff_t count[LAST_ELEMENT + 1] = {0};
    char text[512] = "", name[16];

    for (ptrdiff_t i = 0; i < atoms->count; i++) {
        count[atoms->atom[i].element]++;
    }
    sp_json_object(&out->found.json, "elements");
    for (int z = 1; z <= LAST_ELEMENT; z++) {
        const size_t used = strlen(text);

        if (count[z] > 0) {
            element_text(z, sizeof name, name);
            snprintf(text + used, sizeof text - used, "%s%s %td", used > 0 ? ", " : "", name, count[z]);
            sp_json_integer(&out->found.json, name, count[z]);
        }
    }
    sp_json_end(&out->found.json);
    sp_findings_line(&out->found, "elements", "%s", text);
}

static void show_atoms(const char *label, const char *key, const sp_atoms *atoms, report *out)
{
    const double diameter = find_diameter(atoms);

    sp_findings_line(&out->found, label, "%td atoms, diameter %.4g Angstrom", atoms->count, diameter / ANGSTROM);
    sp_json_object(&out->found.json, key);
    sp_json_integer(&out->found.json, "atoms", atoms->count);
    sp_json_real(&out->found.json, "diameter", diameter);
    sp_json_end(&out->found.json);
}

static sp_status show_pdb(report *out)
{
    sp_status status = SP_OK;
    sp_atoms atoms = {0}, assembly = {0};

    SP_TRY(sp_pdb_read(out->path, 0, &atoms));
    title(out, "molecule", "atoms of a molecule (PDB)");
    show_atoms("as it stands", "as_it_stands", &atoms, out);
    show_elements(&atoms, out);
    if (sp_pdb_read(out->path, 1, &assembly) == SP_OK) {
        show_atoms("assembly 1", "assembly_1", &assembly, out);
    } else {
        sp_findings_line(&out->found, "assembly 1", "not in the file"); /* REMARK 350 is optional */
    }
done:
    sp_atoms_clear(&atoms);
    sp_atoms_clear(&assembly);
    return status;
}

/* ---- which kind of file ---- */

/* Does the name end in one of these, before any .gz? */
static bool ends_in(const char *path, const char *const *endings)
{
    const size_t whole = strlen(path);
    const size_t length = whole > 3 && strcmp(path + whole - 3, ".gz") == 0 ? whole - 3 : whole;

    for (; *endings; endings++) {
        const size_t ending = strlen(*endings);

        if (length > ending && strncasecmp(path + length - ending, *endings, ending) == 0) {
            return true;
        }
    }
    return false;
}

/* The contents decide where they can; the name decides which reader says what is wrong. */
static sp_status show_file(report *out)
{
    static const char *const h5[] = {".h5", ".hdf5", ".cxi", NULL}, *const pdb[] = {".pdb", ".ent", NULL},
                             *const mrc[] = {".mrc", ".map", ".ccp4", NULL};
    sp_status status = SP_OK;

    SP_REQUIRE(!sp_folder_exists(out->path), SP_ERR_INPUT, "%s: is a folder, a file is needed", out->path);
    if (sp_h5_recognize(out->path) || ends_in(out->path, h5)) {
        SP_TRY(sp_h5_open(out->path, &out->h5));
        SP_TRY(show_h5(out));
    } else if (ends_in(out->path, pdb)) {
        SP_TRY(show_pdb(out));
    } else if (ends_in(out->path, mrc) || !sp_file_exists(out->path)) { /* whatever is missing: any reader says it */
        SP_TRY(show_mrc(out));
    } else {
        /* a reader that refuses has written nothing yet */
        SP_REQUIRE(show_mrc(out) == SP_OK || show_pdb(out) == SP_OK, SP_ERR_INPUT,
                   "%s: no file that spica knows: HDF5 (images, results), MRC map or PDB molecule", out->path);
    }
done:
    sp_h5_close(out->h5);
    out->h5 = NULL;
    return status;
}

static sp_status run(const sp_arguments *args, sp_log *log)
{
    sp_status status = SP_OK;
    report out = {.path = sp_arguments_text(args, "file")};

    (void)log;
    sp_findings_begin(&out.found, "  ", LABEL_WIDTH);
    sp_json_text(&out.found.json, "file", out.path);
    SP_TRY(show_file(&out));
    SP_TRY(sp_findings_print(&out.found, sp_arguments_flag(args, "json")));
done:
    sp_findings_clear(&out.found);
    return status;
}

static const sp_option options[] = {
    {.name = "json", .type = SP_OPTION_FLAG, .help = "print JSON, in SI units (m, eV named)"},
    {0},
};

static const sp_positional positionals[] = {
    {.name = "file", .help = "images or results (HDF5), a density map (MRC), a molecule (PDB)", .required = true},
    {0},
};

const sp_command sp_command_info = {
    .name = "info",
    .summary = "say what a file contains",
    .options = options,
    .positionals = positionals,
    .examples = "spica info images.h5\nspica info --json map.mrc\n",
    .run = run,
};
