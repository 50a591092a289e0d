/* SPDX-License-Identifier: BSD-3-Clause */
#include "phases/photons.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

enum {
    MOST_COUNT = 127,        /* of one byte */
    RUN = 126,               /* a byte that says n empty bins is RUN + n */
    LONGEST_RUN = 250 - RUN, /* of one byte */
    LONG_RUN = 251,
    LARGE_COUNT = 252,
    LARGEST_COUNT = 253, /* followed by 2, 2, 4 bytes */
    BLOCK = 16,          /* bins looked at together when reading */
    SLAB = 1 << 20,      /* bytes got at a time */
};

/* Rows lie in slabs, one behind the other. */
typedef struct slab {
    struct slab *before;
    size_t size, used;
    uint8_t *bytes;
} slab;

struct sp_photons {
    uint8_t **row;
    size_t rows_size;
    slab *last;
};

sp_status sp_photons_new(ptrdiff_t rows, sp_photons **photons)
{
    sp_status status = SP_OK;
    sp_photons *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(self->row, rows));
    self->rows_size = (size_t)rows * sizeof *self->row;
    *photons = self;
    self = NULL;
done:
    sp_photons_free(self);
    return status;
}

void sp_photons_free(sp_photons *photons)
{
    if (!photons) {
        return;
    }
    while (photons->last) {
        slab *const last = photons->last;

        photons->last = last->before;
        sp_array_free(last->bytes);
        sp_array_free(last);
    }
    sp_array_free(photons->row);
    sp_array_free(photons);
}

size_t sp_photons_bytes(const sp_photons *photons)
{
    size_t sum = photons->rows_size;

    for (const slab *s = photons->last; s; s = s->before) {
        sum += s->size;
    }
    return sum;
}

bool sp_photons_are_whole(const float *value, ptrdiff_t count)
{
    for (ptrdiff_t i = 0; i < count; i++) {
        if (!(value[i] >= 0.0f && value[i] < 0x1p32f && value[i] == floorf(value[i]))) {
            return false;
        }
    }
    return true;
}

/* ---- packing ---- */

/* Appends a byte and the `more` lower bytes of a number; `to` NULL: only moves on. */
static size_t append(uint8_t *to, size_t at, int byte, uint32_t number, int more)
{
    if (to) {
        to[at] = (uint8_t)byte;
        for (int i = 0; i < more; i++) {
            to[at + 1 + (size_t)i] = (uint8_t)(number >> (8 * i));
        }
    }
    return at + 1 + (size_t)more;
}

static size_t append_run(uint8_t *to, size_t at, ptrdiff_t empty)
{
    for (; empty > LONGEST_RUN; empty -= empty < UINT16_MAX ? empty : UINT16_MAX) {
        at = append(to, at, LONG_RUN, (uint32_t)(empty < UINT16_MAX ? empty : UINT16_MAX), 2);
    }
    if (empty > 0) {
        at = append(to, at, empty > 1 ? RUN + (int)empty : 0, 0, 0);
    }
    return at;
}

static size_t append_count(uint8_t *to, size_t at, uint32_t k)
{
    if (k <= MOST_COUNT) {
        return append(to, at, (int)k, 0, 0);
    }
    return k <= UINT16_MAX ? append(to, at, LARGE_COUNT, k, 2) : append(to, at, LARGEST_COUNT, k, 4);
}

/* Bytes of a row; `to` NULL: only counted. */
static size_t pack(const float *value, ptrdiff_t count, uint8_t *to)
{
    size_t at = 0;

    for (ptrdiff_t i = 0; i < count;) {
        ptrdiff_t end = i;

        while (end < count && value[end] == 0.0f) {
            end++;
        }
        at = append_run(to, at, end - i);
        if (end < count) {
            at = append_count(to, at, (uint32_t)value[end++]);
        }
        i = end;
    }
    return at;
}

/* Room for so many bytes; one thread at a time. */
static sp_status reserve(sp_photons *self, size_t size, uint8_t **bytes)
{
    sp_status status = SP_OK;
    slab *fresh = NULL;

    if (!self->last || self->last->size - self->last->used < size) {
        SP_TRY(SP_ARRAY(fresh, 1));
        fresh->size = size > SLAB ? size : SLAB;
        SP_TRY(SP_ARRAY(fresh->bytes, (ptrdiff_t)fresh->size + BLOCK)); /* read_block() looks ahead */
        fresh->before = self->last;
        self->last = fresh;
        fresh = NULL;
    }
    *bytes = self->last->bytes + self->last->used;
    self->last->used += size;
done:
    sp_array_free(fresh);
    return status;
}

sp_status sp_photons_put(sp_photons *photons, ptrdiff_t row, const float *value, ptrdiff_t count)
{
    const size_t size = pack(value, count, NULL);
    sp_status status = SP_OK;

#pragma omp critical(sp_photons_reserve)
    status = reserve(photons, size, &photons->row[row]);
    if (!status) {
        pack(value, count, photons->row[row]);
    }
    return status;
}

/* ---- reading ---- */

sp_photon_reader sp_photons_open(const sp_photons *photons, ptrdiff_t row)
{
    return (sp_photon_reader){.code = photons->row[row], .empty = photons->row[row] ? 0 : PTRDIFF_MAX};
}

static uint32_t number(const uint8_t *code, int bytes)
{
    uint32_t sum = 0;

    for (int i = 0; i < bytes; i++) {
        sum |= (uint32_t)code[i] << (8 * i);
    }
    return sum;
}

/* The next BLOCK bins, if each has a byte of its own. */
static bool read_block(const uint8_t *code, float factor, float *value)
{
    uint8_t all = 0;

    for (int i = 0; i < BLOCK; i++) {
        all |= code[i];
    }
    if (all > MOST_COUNT) {
        return false;
    }
    for (int i = 0; i < BLOCK; i++) {
        value[i] = factor * (float)code[i];
    }
    return true;
}

/* The count that comes next, or 0 and how many more empty bins follow in reader->empty. */
static uint32_t read_code(sp_photon_reader *reader)
{
    const uint8_t *code = reader->code;

    reader->code++;
    switch (*code) {
    case LONG_RUN:
        reader->code += 2;
        reader->empty = (ptrdiff_t)number(code + 1, 2) - 1;
        return 0;
    case LARGE_COUNT:
        reader->code += 2;
        return number(code + 1, 2);
    case LARGEST_COUNT:
        reader->code += 4;
        return number(code + 1, 4);
    default:
        reader->empty = *code > MOST_COUNT ? *code - RUN - 1 : 0;
        return *code > MOST_COUNT ? 0 : *code;
    }
}

void sp_photons_read(sp_photon_reader *reader, ptrdiff_t count, float factor, float *value)
{
    for (ptrdiff_t i = 0; i < count;) {
        const ptrdiff_t run = reader->empty < count - i ? reader->empty : count - i;

        if (run > 0) {
            memset(value + i, 0, (size_t)run * sizeof *value);
            reader->empty -= run;
            i += run;
        } else if (count - i >= BLOCK && read_block(reader->code, factor, value + i)) {
            reader->code += BLOCK;
            i += BLOCK;
        } else {
            value[i++] = factor * (float)read_code(reader);
        }
    }
}
