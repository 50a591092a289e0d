/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* flow/report.h -- what a reconstruction found and how far to trust it: a page for people, JSON for programs. */
#include <stdbool.h>

#include "base/json.h"
#include "base/text.h"
#include "flow/reconstruct.h"

/* What the report needs to know besides the outcome. */
typedef struct sp_report_source {
    const char *path;              /* path of the image file, as the user wrote it */
    double bytes;                  /* [byte] its size */
    sp_reconstruct_settings asked; /* as handed to sp_reconstruct(): tells what was chosen automatically */
} sp_report_source;

/* Call show(context, line) for each thing that may be wrong with the result: why it matters and what to do about it.
 * Fails with SP_ERR_MEMORY. */
typedef void sp_warning_show(void *context, const char *line);
sp_status sp_report_warnings(const sp_reconstruction *state, sp_warning_show *show, void *context);

/* What is likely to blame when a run finds no structure, or finds it badly, each by a measured number and its limit. */
typedef enum sp_cause_kind {
    SP_CAUSE_IMAGES,       /* too few to see all directions */
    SP_CAUSE_PHOTONS,      /* too few to orient an image by */
    SP_CAUSE_ORIENTATIONS, /* the grid that is searched is too coarse to climb from */
    SP_CAUSE_BACKGROUND,   /* smooth light hides the speckle */
    SP_CAUSE_SUPPORT,      /* the phasing did not shrink its support to a particle */
    SP_CAUSE_STATES,       /* nothing of all this, and still no one density explains the images: several states? */
    SP_CAUSES
} sp_cause_kind;
extern const char *const sp_cause_names[SP_CAUSES]; /* "images", "photons", ... */

/* present  out  [SP_CAUSES] */
void sp_report_causes(const sp_reconstruction *state, bool *present);

/* Append the page for people: Angstrom and degrees, 80 columns. */
void sp_report_page(const sp_report_source *source, const sp_reconstruction *state, sp_text *text);

/* Append the same as one JSON object, in SI units. */
void sp_report_json(const sp_report_source *source, const sp_reconstruction *state, sp_text *text);
