/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/mrc.h"

#include <errno.h>
#include <float.h>
#include <limits.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include "base/files.h"
#include "base/memory.h"

enum { HEADER_BYTES = 1024, WORDS = HEADER_BYTES / 4, MAX_EDGE = 1 << 14, MAX_WRITTEN_EDGE = 2048 };

/* Words of the header, counted from 0 (the format's description counts from 1). */
enum {
    WORD_N = 0, /* columns, rows, sections: fastest axis first */
    WORD_MODE = 3,
    WORD_START = 4, /* of columns, rows, sections */
    WORD_M = 7,     /* voxels per cell along x, y, z */
    WORD_CELL = 10, /* edges x, y, z [Angstrom], then angles [degree] */
    WORD_AXIS = 16, /* which of x, y, z = 1, 2, 3 the columns, rows, sections are */
    WORD_MIN = 19,
    WORD_MAX = 20,
    WORD_MEAN = 21,
    WORD_SPACE_GROUP = 22,
    WORD_EXTENDED = 23, /* bytes between header and data */
    WORD_VERSION = 27,
    WORD_ORIGIN = 49, /* x, y, z [Angstrom] */
    WORD_MAGIC = 52,
    WORD_STAMP = 53,
    WORD_RMS = 54,
    WORD_LABELS = 55,
    WORD_LABEL = 56,
};

enum { MODE_INT8 = 0, MODE_INT16 = 1, MODE_FLOAT32 = 2, MODE_UINT16 = 6, MODE_FLOAT16 = 12 };

static const double ANGSTROM = 1e-10;     /* [m] */
static const double MAX_SKEW = 0.01;      /* [degree] from a right angle: rounding in the writing program */
static const off_t MAX_GZIP_RATIO = 1100; /* deflate cannot shrink by more than 1032 */

/* ---- numbers of either byte order ---- */

/* The header in the byte order of this machine. */
typedef union header {
    uint32_t word[WORDS];
    char text[HEADER_BYTES];
} header;

static int32_t integer_at(const header *head, int word)
{
    return (int32_t)head->word[word];
}

static double real_at(const header *head, int word)
{
    float value;

    memcpy(&value, &head->word[word], sizeof value);
    return value;
}

static void set_integer(header *head, int word, ptrdiff_t value)
{
    head->word[word] = (uint32_t)(int32_t)value;
}

static void set_real(header *head, int word, double real)
{
    const float value = (float)real;

    memcpy(&head->word[word], &value, sizeof value);
}

static float half_to_float(uint16_t half) /* IEEE 754 binary16 */
{
    const int exponent = half >> 10 & 31, fraction = half & 1023;
    const double size = exponent == 0    ? ldexp(fraction, -24)
                        : exponent == 31 ? (fraction ? NAN : INFINITY)
                                         : ldexp(fraction + 1024, exponent - 25);

    return (float)(half >> 15 ? -size : size);
}

static ptrdiff_t mode_bytes(int mode)
{
    return mode == MODE_INT8 ? 1 : mode == MODE_FLOAT32 ? 4 : 2;
}

static const char *mode_name(int mode)
{
    switch (mode) {
    case MODE_INT8:
        return "int8";
    case MODE_INT16:
        return "int16";
    case MODE_FLOAT32:
        return "float32";
    case MODE_UINT16:
        return "uint16";
    case MODE_FLOAT16:
        return "float16";
    default:
        return NULL;
    }
}

/* Element i of a packed row of raw numbers. */
static float number_at(const unsigned char *raw, int mode, bool swapped, ptrdiff_t i)
{
    const ptrdiff_t bytes = mode_bytes(mode);
    uint32_t word = 0;
    uint16_t half = 0;
    float value = 0.0F;

    if (bytes == 1) {
        return (float)(int8_t)raw[i];
    }
    if (bytes == 4) {
        memcpy(&word, raw + 4 * i, sizeof word);
        word = swapped ? __builtin_bswap32(word) : word;
        memcpy(&value, &word, sizeof value);
        return value;
    }
    memcpy(&half, raw + 2 * i, sizeof half);
    half = swapped ? __builtin_bswap16(half) : half;
    return mode == MODE_INT16 ? (float)(int16_t)half : mode == MODE_UINT16 ? (float)half : half_to_float(half);
}

/* ---- reading ---- */

typedef struct reader {
    const char *path;
    gzFile file;
    off_t file_bytes; /* size on disk */
    bool swapped;     /* the byte order is not that of this machine */
    header head;
    int axis[3]; /* of columns, rows, sections: 0 x, 1 y, 2 z */
} reader;

/* The next `count` bytes, no fewer. */
static sp_status read_bytes(reader *self, void *bytes, ptrdiff_t count)
{
    sp_status status = SP_OK;
    int code = Z_OK;

    for (ptrdiff_t done = 0; done < count;) {
        const ptrdiff_t most = count - done < INT_MAX / 2 ? count - done : INT_MAX / 2;
        const int got = gzread(self->file, (char *)bytes + done, (unsigned)most);
        const char *why = gzerror(self->file, &code);

        SP_REQUIRE(got >= 0 && code != Z_BUF_ERROR, SP_ERR_INPUT, "%s: the map cannot be read (%s)", self->path,
                   code == Z_ERRNO ? strerror(errno) : why);
        SP_REQUIRE(got > 0, SP_ERR_INPUT, "%s: the map is truncated: %td bytes are missing", self->path, count - done);
        done += got;
    }
done:
    return status;
}

static sp_status open_map(const char *path, reader *self)
{
    sp_status status = SP_OK;
    struct stat about;

    self->path = path;
    SP_REQUIRE(stat(path, &about) == 0, SP_ERR_INPUT, "%s: %s", path, strerror(errno));
    SP_REQUIRE(!S_ISDIR(about.st_mode), SP_ERR_INPUT, "%s: is a directory, a map is needed", path);
    self->file_bytes = about.st_size;
    self->file = gzopen(path, "rbe");
    SP_REQUIRE(self->file, SP_ERR_INPUT, "%s: %s", path, strerror(errno));
    SP_TRY(read_bytes(self, self->head.text, HEADER_BYTES));
done:
    return status;
}

bool sp_mrc_recognize(const char *path)
{
    header head = {0};
    gzFile file = gzopen(path, "rbe");
    const bool whole = file && gzread(file, head.text, HEADER_BYTES) == HEADER_BYTES;

    if (file) {
        gzclose_r(file);
    }
    return whole && memcmp(&head.word[WORD_MAGIC], "MAP ", 4) == 0;
}

/* Many programs leave the machine stamp wrong, so the byte order is the one in which the number of columns is small. */
static void fix_byte_order(reader *self)
{
    self->swapped = __builtin_bswap32(self->head.word[WORD_N]) < self->head.word[WORD_N];
    for (int i = 0; self->swapped && i < WORD_LABEL; i++) {
        if (i != WORD_MAGIC) {
            self->head.word[i] = __builtin_bswap32(self->head.word[i]);
        }
    }
}

/* Files older than MRC2000 have no magic, so all of the header must make sense. */
static sp_status check_grid(reader *self)
{
    sp_status status = SP_OK;
    const header *head = &self->head;
    const int32_t mode = integer_at(head, WORD_MODE), extended = integer_at(head, WORD_EXTENDED);
    double bytes = 0.0;
    int axes = 0;

    for (int i = 0; i < 3; i++) {
        const int32_t n = integer_at(head, WORD_N + i), axis = integer_at(head, WORD_AXIS + i);

        SP_REQUIRE(n >= 1 && n <= MAX_EDGE, SP_ERR_INPUT, "%s: not a map: its header has %d voxels along an axis",
                   self->path, n);
        self->axis[i] = axis == 0 ? i : axis - 1; /* 0: never set */
        axes |= axis >= 0 && axis <= 3 ? 1 << self->axis[i] : 0;
    }
    SP_REQUIRE(axes == 7, SP_ERR_INPUT, "%s: not a map: MAPC, MAPR, MAPS in its header are not 1, 2, 3 in some order",
               self->path);
    SP_REQUIRE(mode_name(mode), SP_ERR_INPUT, "%s: map of mode %d; modes 0, 1, 2, 6 and 12 can be read", self->path,
               mode);
    SP_REQUIRE(extended >= 0, SP_ERR_INPUT, "%s: not a map: NSYMBT in its header is %d", self->path, extended);
    bytes = HEADER_BYTES + extended +
            (double)mode_bytes(mode) * integer_at(head, 0) * integer_at(head, 1) * integer_at(head, 2);
    SP_REQUIRE(bytes <= (double)self->file_bytes * (gzdirect(self->file) ? 1.0 : (double)MAX_GZIP_RATIO), SP_ERR_INPUT,
               "%s: the map is truncated: %.0f bytes are needed", self->path, bytes);
done:
    return status;
}

/* Voxel sizes and origin. */
static sp_status read_frame(const reader *self, sp_map *map)
{
    sp_status status = SP_OK;
    const header *head = &self->head;
    bool has_origin = false;

    map->scaled = true;
    for (int i = 0; i < 3; i++) {
        const double edge = real_at(head, WORD_CELL + i), angle = real_at(head, WORD_CELL + 3 + i);
        const int32_t m = integer_at(head, WORD_M + i);

        SP_REQUIRE(isfinite(edge) && edge >= 0.0 && isfinite(real_at(head, WORD_ORIGIN + i)), SP_ERR_INPUT,
                   "%s: cell edge %g or origin %g Angstrom in the header of the map is impossible", self->path, edge,
                   real_at(head, WORD_ORIGIN + i));
        SP_REQUIRE(angle == 0.0 || fabs(angle - 90.0) <= MAX_SKEW, SP_ERR_INPUT,
                   "%s: the map has a cell angle of %g degrees; resample it on a grid with right angles", self->path,
                   angle);
        map->voxel[i] = edge / (m > 0 ? m : map->n[i]) * ANGSTROM;
        map->scaled = map->scaled && edge > 0.0;
        has_origin = has_origin || real_at(head, WORD_ORIGIN + i) != 0.0;
    }
    for (int i = 0; i < 3; i++) {
        map->voxel[i] = map->scaled ? map->voxel[i] : ANGSTROM;
        map->origin[i] = real_at(head, WORD_ORIGIN + i) * ANGSTROM;
    }
    for (int i = 0; !has_origin && i < 3; i++) {
        map->origin[self->axis[i]] = integer_at(head, WORD_START + i) * map->voxel[self->axis[i]];
    }
done:
    return status;
}

static void read_labels(const reader *self, sp_map *map)
{
    for (int i = 0; i < SP_MAP_LABELS; i++) {
        char *label = map->label[i];

        memcpy(label, self->head.text + 4 * WORD_LABEL + (ptrdiff_t)i * SP_MAP_LABEL_LENGTH, SP_MAP_LABEL_LENGTH);
        for (char *c = label; *c; c++) { /* for the screen: no control characters */
            *c = *c < ' ' || *c == 127 ? ' ' : *c;
        }
        for (size_t end = strlen(label); end > 0 && label[end - 1] == ' ';) {
            label[--end] = '\0';
        }
    }
}

static sp_status skip_extended_header(reader *self)
{
    sp_status status = SP_OK;
    char scrap[4096];

    for (ptrdiff_t left = integer_at(&self->head, WORD_EXTENDED); left > 0;) {
        const ptrdiff_t count = left < (ptrdiff_t)sizeof scrap ? left : (ptrdiff_t)sizeof scrap;

        SP_TRY(read_bytes(self, scrap, count));
        left -= count;
    }
done:
    return status;
}

static sp_status read_values(reader *self, sp_map *map)
{
    sp_status status = SP_OK;
    const int mode = integer_at(&self->head, WORD_MODE);
    const ptrdiff_t columns = integer_at(&self->head, 0), rows = integer_at(&self->head, 1);
    const ptrdiff_t stride[3] = {map->n[1] * map->n[2], map->n[2], 1};
    unsigned char *raw = NULL; /* one section */

    SP_TRY(SP_ARRAY(raw, columns * rows * mode_bytes(mode)));
    for (ptrdiff_t s = 0; s < integer_at(&self->head, 2); s++) {
        SP_TRY(read_bytes(self, raw, columns * rows * mode_bytes(mode)));
        for (ptrdiff_t r = 0; r < rows; r++) {
            float *row = map->value + s * stride[self->axis[2]] + r * stride[self->axis[1]];

            for (ptrdiff_t c = 0; c < columns; c++) {
                const float value = number_at(raw, mode, self->swapped, r * columns + c);

                SP_REQUIRE(fabsf(value) <= FLT_MAX, SP_ERR_INPUT,
                           "%s: the map holds %g at column %td, row %td, section %td", self->path, (double)value, c, r,
                           s);
                row[c * stride[self->axis[0]]] = value;
            }
        }
    }
done:
    sp_array_free(raw);
    return status;
}

sp_status sp_mrc_read(const char *path, sp_map *map)
{
    sp_status status = SP_OK;
    reader self = {0};
    sp_map made = {0};

    SP_TRY(open_map(path, &self));
    fix_byte_order(&self);
    SP_TRY(check_grid(&self));
    for (int i = 0; i < 3; i++) {
        made.n[self.axis[i]] = integer_at(&self.head, WORD_N + i);
    }
    made.number = mode_name(integer_at(&self.head, WORD_MODE));
    SP_TRY(read_frame(&self, &made));
    read_labels(&self, &made);
    SP_TRY(SP_ARRAY(made.value, made.n[0] * made.n[1] * made.n[2]));
    SP_TRY(skip_extended_header(&self));
    SP_TRY(read_values(&self, &made));
    *map = made;
    made.value = NULL;
done:
    sp_array_free(made.value);
    if (self.file) {
        gzclose(self.file);
    }
    return status;
}

void sp_map_clear(sp_map *map)
{
    sp_array_free(map->value);
    *map = (sp_map){0};
}

/* ---- writing ---- */

static sp_status check_finite(const char *path, ptrdiff_t n, const float *value)
{
    sp_status status = SP_OK;

    for (ptrdiff_t i = 0; i < n * n * n; i++) {
        SP_REQUIRE(fabsf(value[i]) <= FLT_MAX, SP_ERR_NUMERIC, "%s: the map to be written is %g at x %td, y %td, z %td",
                   path, (double)value[i], i / (n * n), i / n % n, i % n);
    }
done:
    return status;
}

/* Two passes: the mean first, for the deviations would cancel otherwise. */
static void set_statistics(header *head, ptrdiff_t count, const float *value)
{
    double sum = 0.0, square = 0.0;
    float least = value[0], most = value[0];

    for (ptrdiff_t i = 0; i < count; i++) {
        sum += value[i];
        least = fminf(least, value[i]);
        most = fmaxf(most, value[i]);
    }
    for (ptrdiff_t i = 0; i < count; i++) {
        const double deviation = value[i] - sum / (double)count;

        square += deviation * deviation;
    }
    set_real(head, WORD_MIN, least);
    set_real(head, WORD_MAX, most);
    set_real(head, WORD_MEAN, sum / (double)count);
    set_real(head, WORD_RMS, sqrt(square / (double)count));
}

/* The first names the program. Used labels are padded with blanks, as Fortran programs want. */
static void set_labels(header *head, const char *notes)
{
    const char *line = "spica " SPICA_VERSION;
    char *label = head->text + 4 * WORD_LABEL;
    int count = 0;

    while (line && *line && count < SP_MAP_LABELS) {
        const size_t length = strcspn(line, "\n");

        memset(label, ' ', SP_MAP_LABEL_LENGTH);
        memcpy(label, line, length < SP_MAP_LABEL_LENGTH ? length : SP_MAP_LABEL_LENGTH);
        label += SP_MAP_LABEL_LENGTH;
        line = count++ == 0 ? notes : line[length] ? line + length + 1 : NULL;
    }
    set_integer(head, WORD_LABELS, count);
}

static void make_header(ptrdiff_t n, double voxel, const ptrdiff_t centre[3], const float *value, const char *notes,
                        header *head)
{
    static const unsigned char little[4] = {0x44, 0x44, 0, 0}, big[4] = {0x11, 0x11, 0, 0};

    for (int i = 0; i < 3; i++) {
        set_integer(head, WORD_N + i, n);
        set_integer(head, WORD_START + i, centre[i] - n / 2);
        set_integer(head, WORD_M + i, n);
        set_real(head, WORD_CELL + i, (double)n * voxel / ANGSTROM);
        set_real(head, WORD_CELL + 3 + i, 90.0);
        set_integer(head, WORD_AXIS + i, i + 1);
    }
    set_integer(head, WORD_MODE, MODE_FLOAT32);
    set_integer(head, WORD_SPACE_GROUP, 1); /* a volume */
    set_integer(head, WORD_VERSION, 20141);
    memcpy(&head->word[WORD_MAGIC], "MAP ", 4);
    memcpy(&head->word[WORD_STAMP], __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? little : big, 4);
    set_statistics(head, n * n * n, value);
    set_labels(head, notes);
}

/* out[z][y][x] = value[x][y][z], in blocks of z that use whole cache lines. */
static void transpose(ptrdiff_t n, const float *restrict value, float *restrict out)
{
    enum { BLOCK = SP_ALIGNMENT / sizeof(float) };

    for (ptrdiff_t z0 = 0; z0 < n; z0 += BLOCK) {
        const ptrdiff_t end = z0 + BLOCK < n ? z0 + BLOCK : n;

        for (ptrdiff_t y = 0; y < n; y++) {
            for (ptrdiff_t x = 0; x < n; x++) {
                for (ptrdiff_t z = z0; z < end; z++) {
                    out[(z * n + y) * n + x] = value[(x * n + y) * n + z];
                }
            }
        }
    }
}

sp_status sp_mrc_write(const char *path, ptrdiff_t n, double voxel, const float *value, const char *notes)
{
    const ptrdiff_t zero[3] = {0, 0, 0};

    return sp_mrc_write_at(path, n, voxel, zero, value, notes);
}

sp_status sp_mrc_write_at(const char *path, ptrdiff_t n, double voxel, const ptrdiff_t centre[3], const float *value,
                          const char *notes)
{
    sp_status status = SP_OK;
    float *words = NULL; /* the whole file */
    header head = {0};

    SP_REQUIRE(n >= 1 && n <= MAX_WRITTEN_EDGE, SP_ERR_USAGE, "%s: edge of %td voxels is not in 1..%d", path, n,
               MAX_WRITTEN_EDGE);
    SP_REQUIRE(isfinite(voxel) && voxel > 0.0, SP_ERR_USAGE, "%s: voxel size %g m is not positive", path, voxel);
    SP_TRY(check_finite(path, n, value));
    SP_TRY(SP_ARRAY(words, WORDS + n * n * n));
    make_header(n, voxel, centre, value, notes, &head);
    memcpy(words, &head, HEADER_BYTES);
    transpose(n, value, words + WORDS);
    SP_TRY(sp_file_write_atomic(path, words, (size_t)(WORDS + n * n * n) * sizeof *words));
done:
    sp_array_free(words);
    return status;
}
