/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* device/stack_piece.h -- private to device/stack*: the images on a device, cut into pieces, and work space for them.
 *
 *   stack.c         memory, images, pieces
 *   stack_search.c, stack_polar.c, stack_refine.c, stack_assess.c, stack_spread.c    one phase each; of the search,
 *                                                                                    one route each */
#include "device/counts.h"
#include "device/polar_search.h"
#include "device/stack.h"
#include "phases/likelihood.h"

enum {
    STREAMED_WINDOWS = 2, /* of images that do not fit: one is worked on, one is on its way */
    TILE = 2048,          /* orientations that are compared at a time, at most */
    LEAST_TILE = 128,     /* a matrix product of fewer wastes its time */
    CLIMBS = 4096,        /* images that are refined at a time, at most */
};

static const double OF_TILE = 0.3;  /* share of the work space for orientations of a search, */
static const double OF_PIECE = 0.6; /* and for images */

/* What is left of the work space. */
typedef struct sp_stack_room {
    char *next, *end;
} sp_stack_room;

struct sp_device_stack {
    const sp_device *device;
    sp_device_stack_input input;
    sp_match_tables tables;
    ptrdiff_t images, stride; /* all; pixels held of each */
    ptrdiff_t *first;         /* [parts + 1] number of the first image of each part */
    double photons;           /* sum of all |k| */

    /* on the device, of the pixels */
    float *expected, *base, *whitening, *exposure; /* [stride] */
    float *background;                             /* [stride] photons */
    float *background_values;                      /* [stride] as merging takes them off */
    ptrdiff_t *shell_start;                        /* [shells + 1] */
    float *s;                                      /* [3][placed] */
    ptrdiff_t placed;                              /* pixels whose places are there */
    float *ramp;                                   /* [ramped] of merging */
    ptrdiff_t ramped;
    float most_ramp;

    /* the images */
    ptrdiff_t window, windows;  /* images of each, and how many of them */
    float *k[STREAMED_WINDOWS]; /* [window][stride] photons; the second one NULL where all images stay */
    float *staged;              /* host [window or as many as are read at a time][stride] */
    ptrdiff_t staging;          /* how many those are */
    ptrdiff_t there, coming;    /* window that is in k[0]; on its way to k[1]; -1: none */
    double *scatter;            /* [shells + 1][2] of an assessment */
    ptrdiff_t looks[2];         /* of the last refinement */

    /* the polar route */
    sp_device_polar_search *polar; /* NULL: the dense one */
    ptrdiff_t transforms;          /* images that there is room for in it */
    int32_t *held;                 /* host [transforms] images that are in it, */
    ptrdiff_t holding;             /* and how many of them; 0: it is not known */

    char *work;
    size_t work_bytes;
};

static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

static inline size_t floats(ptrdiff_t count)
{
    return (size_t)count * sizeof(float);
}

/* The whole work space; and the next array there, on the device. Callers have counted beforehand that it fits. */
sp_stack_room sp_stack_room_of(const sp_device_stack *self);
void *sp_stack_array(sp_stack_room *room, size_t bytes);

/* How many of something whose arrays take so many bytes each fit into a share of the work space: at least `least`. */
ptrdiff_t sp_stack_fitting(const sp_device_stack *self, double share, size_t bytes_each, ptrdiff_t least,
                           ptrdiff_t most);

/* To be called when work has been handed in: the images that are next to be asked for come meanwhile. */
sp_status sp_stack_look_ahead(sp_device_stack *self);

/* The places of the first `pixels` pixels -> self->s. */
sp_status sp_stack_place(sp_device_stack *self, ptrdiff_t pixels);

/* On the device. */
sp_likelihood_model sp_stack_model(const sp_device_stack *self, const sp_device_view *view);

/* Everything for the polar route, and its search.   memory  [byte] of the device */
sp_status sp_stack_make_polar(sp_device_stack *self, double memory);
sp_status sp_stack_search_polar(sp_device_stack *self, const sp_device_view *view, const sp_device_choice *choice,
                                sp_candidate *best);

/* Some images of a choice that lie in the present window: those from number `first` of the choice on. */
typedef struct sp_stack_piece {
    ptrdiff_t first, count;
    sp_stack_room room; /* what is left of the work space */
    int32_t *image;     /* device [count] place in the window */
    float *scale;       /* device [count] */
} sp_stack_piece;

/* Bytes on the device that each image of a piece takes beside what its phase needs. */
enum { PIECE_BYTES = sizeof(int32_t) + sizeof(float) };

sp_device_counts sp_stack_counts(const sp_device_stack *self, const sp_stack_piece *p);

/* What a phase does with a piece; `job` is its own. */
typedef sp_status sp_stack_work(sp_device_stack *self, sp_stack_piece *p, void *job);

/* All images of a choice, window by window, in pieces of up to `most` images. */
sp_status sp_stack_for_pieces(sp_device_stack *self, const sp_device_choice *choice, ptrdiff_t most,
                              sp_stack_work *work, void *job);
