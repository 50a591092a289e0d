/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <zlib.h>

#include "base/files.h"
#include "base/memory.h"
#include "base/rng.h"
#include "io/mrc.h"
#include "scratch.h"

static const double ANGSTROM = 1e-10; /* [m] */

/* ---- the bytes of a file, by the offsets of the format's description ---- */

static int32_t int_at(const unsigned char *bytes, int offset)
{
    return (int32_t)((uint32_t)bytes[offset] | (uint32_t)bytes[offset + 1] << 8 | (uint32_t)bytes[offset + 2] << 16 |
                     (uint32_t)bytes[offset + 3] << 24);
}

static float real_at(const unsigned char *bytes, int offset)
{
    const int32_t word = int_at(bytes, offset);
    float value;

    memcpy(&value, &word, sizeof value);
    return value;
}

static void assert_triple(const unsigned char *bytes, int offset, int x, int y, int z)
{
    assert_int_equal(int_at(bytes, offset), x);
    assert_int_equal(int_at(bytes, offset + 4), y);
    assert_int_equal(int_at(bytes, offset + 8), z);
}

static void a_written_map_has_every_field_of_the_format(void **state)
{
    (void)state;
    enum { N = 4, COUNT = N * N * N };
    float value[COUNT];
    unsigned char bytes[1024 + 4 * COUNT + 1];
    double sum = 0.0, square = 0.0;

    for (int i = 0; i < COUNT; i++) {
        value[i] = (float)((i * 37) % 64) - 20.0F;
        sum += value[i];
        square += (double)value[i] * value[i];
    }
    assert_int_equal(sp_mrc_write("a.mrc", N, 2.5 * ANGSTROM, value, "first\nsecond"), SP_OK);
    assert_int_equal(get_file("a.mrc", bytes, sizeof bytes), 1024 + 4 * COUNT);
    assert_triple(bytes, 0, N, N, N);
    assert_int_equal(int_at(bytes, 12), 2);
    assert_triple(bytes, 16, -2, -2, -2); /* N*START */
    assert_triple(bytes, 28, N, N, N);
    for (int i = 0; i < 3; i++) {
        assert_true(real_at(bytes, 40 + 4 * i) == 10.0F); /* cell [Angstrom] */
        assert_true(real_at(bytes, 52 + 4 * i) == 90.0F);
        assert_true(real_at(bytes, 196 + 4 * i) == 0.0F); /* ORIGIN */
    }
    assert_triple(bytes, 64, 1, 2, 3);
    assert_true(real_at(bytes, 76) == -20.0F && real_at(bytes, 80) == 43.0F);
    assert_true(fabs(real_at(bytes, 84) - sum / COUNT) < 1e-5);
    assert_true(fabs(real_at(bytes, 216) - sqrt(square / COUNT - sum / COUNT * (sum / COUNT))) < 1e-5);
    assert_int_equal(int_at(bytes, 88), 1); /* a volume, no image stack */
    assert_int_equal(int_at(bytes, 92), 0); /* no extended header */
    assert_int_equal(int_at(bytes, 108), 20141);
    assert_memory_equal(bytes + 208, "MAP \x44\x44\0\0", 8);
    assert_int_equal(int_at(bytes, 220), 3); /* labels */
    assert_memory_equal(bytes + 224, "spica ", 6);
    assert_memory_equal(bytes + 304, "first          ", 15);
    assert_memory_equal(bytes + 384, "second         ", 15);
    assert_int_equal(bytes[464], 0);
    for (int x = 0; x < N; x++) {
        for (int y = 0; y < N; y++) {
            for (int z = 0; z < N; z++) { /* x is fastest */
                assert_true(real_at(bytes, 1024 + 4 * ((z * N + y) * N + x)) == value[(x * N + y) * N + z]);
            }
        }
    }
}

static void maps_of_any_edge_come_back(void **state)
{
    (void)state;
    const ptrdiff_t edges[] = {1, 2, 5, 16, 33};
    sp_rng rng = sp_rng_stream(1, 2, 3);

    for (size_t e = 0; e < sizeof edges / sizeof *edges; e++) {
        const ptrdiff_t n = edges[e];
        float *value = NULL;
        sp_map map;

        assert_int_equal(SP_ARRAY(value, n * n * n), SP_OK);
        for (ptrdiff_t i = 0; i < n * n * n; i++) {
            value[i] = (float)sp_rng_normal(&rng);
        }
        assert_int_equal(sp_mrc_write("a.mrc", n, 1.7 * ANGSTROM, value, NULL), SP_OK);
        assert_int_equal(sp_mrc_read("a.mrc", &map), SP_OK);
        assert_memory_equal(map.value, value, (size_t)(n * n * n) * sizeof *value);
        for (int i = 0; i < 3; i++) {
            assert_int_equal(map.n[i], n);
            assert_true(fabs(map.voxel[i] / (1.7 * ANGSTROM) - 1.0) < 1e-6);
            assert_true(fabs(map.origin[i] + (double)(n / 2) * 1.7 * ANGSTROM) < 1e-6 * (double)n * ANGSTROM);
        }
        assert_true(map.scaled);
        assert_string_equal(map.number, "float32");
        assert_memory_equal(map.label[0], "spica ", 6);
        assert_string_equal(map.label[1], "");
        sp_map_clear(&map);
        assert_null(map.value);
        sp_array_free(value);
    }
}

static void a_map_can_be_written_anywhere(void **state)
{
    (void)state;
    enum { N = 4 };
    const float value[N * N * N] = {1.0F};
    const ptrdiff_t centre[3] = {10, -7, 2};
    sp_map map;

    assert_int_equal(sp_mrc_write_at("a.mrc", N, 2.0 * ANGSTROM, centre, value, NULL), SP_OK);
    assert_int_equal(sp_mrc_read("a.mrc", &map), SP_OK);
    assert_true(map.value[0] == 1.0F);
    for (int i = 0; i < 3; i++) {
        assert_true(fabs(map.origin[i] - (double)(centre[i] - N / 2) * 2.0 * ANGSTROM) < 1e-6 * ANGSTROM);
    }
    sp_map_clear(&map);
}

static void maps_are_recognized_by_their_signature(void **state)
{
    (void)state;
    const float value = 1.0F;

    assert_int_equal(sp_mrc_write("a.mrc", 1, ANGSTROM, &value, NULL), SP_OK);
    assert_true(sp_mrc_recognize("a.mrc"));
    assert_false(sp_mrc_recognize("missing.mrc"));
    assert_int_equal(sp_file_write_atomic("short.mrc", "MAP ", 4), SP_OK);
    assert_false(sp_mrc_recognize("short.mrc"));
}

static void long_and_many_notes_are_cut(void **state)
{
    (void)state;
    const float value = 1.0F;
    char notes[200];
    sp_map map;

    memset(notes, 'a', 100);
    snprintf(notes + 100, sizeof notes - 100, "\n2\n3\n\n5\n6\n7\n8\n9\n10\n11");
    assert_int_equal(sp_mrc_write("a.mrc", 1, ANGSTROM, &value, notes), SP_OK);
    assert_int_equal(sp_mrc_read("a.mrc", &map), SP_OK);
    assert_int_equal(strlen(map.label[1]), SP_MAP_LABEL_LENGTH);
    assert_string_equal(map.label[2], "2");
    assert_string_equal(map.label[4], "");
    assert_string_equal(map.label[9], "9");
    assert_true(map.value[0] == 1.0F);
    sp_map_clear(&map);
}

/* The judges that other laboratories use, where they are installed. */
static void written_maps_pass_foreign_validators(void **state)
{
    (void)state;
    enum { N = 7 };
    const char *const judges[] = {"mrcfile-validate a.mrc >out 2>&1 && grep -q 'appears to be valid' out",
                                  "gemmi map a.mrc >out 2>&1 && grep -q 'from: *-3 *-3 *-3' out && "
                                  "grep -q 'Cell dimensions: 8.4 8.4 8.4  90 90 90' out"};
    const char *const programs[] = {"command -v mrcfile-validate >out", "command -v gemmi >out"};
    float value[N * N * N];
    sp_rng rng = sp_rng_stream(5, 6, 7);
    int judged = 0;

    for (int i = 0; i < N * N * N; i++) {
        value[i] = 10.0F + (float)sp_rng_normal(&rng);
    }
    assert_int_equal(sp_mrc_write("a.mrc", N, 1.2 * ANGSTROM, value, "resolution 5.0 Angstrom"), SP_OK);
    for (int i = 0; i < 2; i++) {
        if (system(programs[i]) == 0) {
            judged++;
            assert_int_equal(system(judges[i]), 0);
        }
    }
    if (judged == 0) {
        skip();
    }
}

/* ---- maps of other programs, made byte by byte ---- */

enum { NX = 2, NY = 3, NZ = 4, VOXELS = NX * NY * NZ, EXTENDED = 160 };

typedef struct foreign {
    int mode;
    bool big_endian;
    int axis[3];              /* MAPC, MAPR, MAPS */
    int start[3];             /* of columns, rows, sections */
    float origin[3];          /* [Angstrom] */
    float cell[3];            /* [Angstrom] */
    float angle;              /* [degree] */
    int m[3], n[3], extended; /* n: 0 = what the axes ask for */
} foreign;

static const foreign plain = {.mode = 2, .axis = {1, 2, 3}, .cell = {2, 6, 12}, .angle = 90, .m = {NX, NY, NZ}};

typedef struct buffer {
    unsigned char bytes[4096];
    size_t count;
    bool big_endian;
} buffer;

static void put_at(buffer *out, size_t offset, uint32_t word, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        out->bytes[offset + (size_t)(out->big_endian ? bytes - 1 - i : i)] = (unsigned char)(word >> (8 * i));
    }
    out->count = out->count > offset + (size_t)bytes ? out->count : offset + (size_t)bytes;
}

static void put_real(buffer *out, size_t offset, float value)
{
    uint32_t word;

    memcpy(&word, &value, sizeof word);
    put_at(out, offset, word, 4);
}

static int value_of(int x, int y, int z)
{
    return x + 2 * y + 6 * z; /* 0 .. 23 */
}

/* Small whole numbers in each mode. */
static void put_value(buffer *out, int mode, int value)
{
    static const uint16_t half[] = {0x0000, 0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600, 0x4700,
                                    0x4800, 0x4880, 0x4900, 0x4980, 0x4a00, 0x4a80, 0x4b00, 0x4b80,
                                    0x4c00, 0x4c40, 0x4c80, 0x4cc0, 0x4d00, 0x4d40, 0x4d80, 0x4dc0};

    if (mode == 0) {
        put_at(out, out->count, (uint32_t)value, 1);
    } else if (mode == 2) {
        put_real(out, out->count, (float)value);
    } else {
        put_at(out, out->count, mode == 12 ? half[value] : (uint32_t)value, 2);
    }
}

static buffer make_foreign(const foreign *f)
{
    const int edges[3] = {NX, NY, NZ};
    buffer out = {.count = 1024 + (size_t)f->extended, .big_endian = f->big_endian};
    int n[3], at[3];

    for (int i = 0; i < 3; i++) {
        n[i] = edges[f->axis[i] - 1];
        put_at(&out, (size_t)(4 * i), (uint32_t)(f->n[i] ? f->n[i] : n[i]), 4);
        put_at(&out, (size_t)(16 + 4 * i), (uint32_t)f->start[i], 4);
        put_at(&out, (size_t)(28 + 4 * i), (uint32_t)f->m[i], 4);
        put_real(&out, (size_t)(40 + 4 * i), f->cell[i]);
        put_real(&out, (size_t)(52 + 4 * i), f->angle);
        put_at(&out, (size_t)(64 + 4 * i), (uint32_t)f->axis[i], 4);
        put_real(&out, (size_t)(196 + 4 * i), f->origin[i]);
    }
    put_at(&out, 12, (uint32_t)f->mode, 4);
    put_at(&out, 92, (uint32_t)f->extended, 4);
    memcpy(out.bytes + 208, "MAP ????", 8); /* the stamp is often wrong: it must not matter */
    memcpy(out.bytes + 224, "made\tby hand", 12);
    for (at[2] = 0; at[2] < n[2]; at[2]++) {
        for (at[1] = 0; at[1] < n[1]; at[1]++) {
            for (at[0] = 0; at[0] < n[0]; at[0]++) {
                int r[3];

                for (int i = 0; i < 3; i++) {
                    r[f->axis[i] - 1] = at[i];
                }
                put_value(&out, f->mode, value_of(r[0], r[1], r[2]));
            }
        }
    }
    return out;
}

static void put_foreign(const foreign *f)
{
    const buffer out = make_foreign(f);

    put_file("a.mrc", out.bytes, out.count);
}

static sp_map read_map(void)
{
    sp_map map;

    if (sp_mrc_read("a.mrc", &map) != SP_OK) {
        fail_msg("%s", sp_error_text());
    }
    return map;
}

static void assert_foreign_values(const sp_map *map)
{
    assert_true(map->n[0] == NX && map->n[1] == NY && map->n[2] == NZ);
    for (int x = 0; x < NX; x++) {
        for (int y = 0; y < NY; y++) {
            for (int z = 0; z < NZ; z++) {
                assert_true(map->value[(x * NY + y) * NZ + z] == (float)value_of(x, y, z));
            }
        }
    }
}

static void assert_vector(const double *got, double x, double y, double z)
{
    assert_true(fabs(got[0] / ANGSTROM - x) < 1e-6);
    assert_true(fabs(got[1] / ANGSTROM - y) < 1e-6);
    assert_true(fabs(got[2] / ANGSTROM - z) < 1e-6);
}

static void every_mode_and_byte_order_is_read(void **state)
{
    (void)state;
    const int modes[] = {0, 1, 2, 6, 12};
    const char *const names[] = {"int8", "int16", "float32", "uint16", "float16"};

    for (int i = 0; i < 10; i++) {
        foreign f = plain;
        sp_map map;

        f.mode = modes[i / 2];
        f.big_endian = i % 2;
        put_foreign(&f);
        map = read_map();
        assert_foreign_values(&map);
        assert_string_equal(map.number, names[i / 2]);
        assert_vector(map.voxel, 1.0, 2.0, 3.0);
        assert_string_equal(map.label[0], "made by hand");
        sp_map_clear(&map);
    }
}

static void negative_and_large_numbers_keep_their_value(void **state)
{
    (void)state;
    const int modes[] = {0, 1, 6, 12, 12};
    const uint16_t raw[] = {0x0080, 0x8000, 0xffff, 0xc100, 0x0001};
    const double value[] = {-128.0, -32768.0, 65535.0, -2.5, 0x1p-24};

    for (int i = 0; i < 5; i++) {
        foreign f = plain;
        buffer out;
        sp_map map;

        f.mode = modes[i];
        out = make_foreign(&f);
        put_at(&out, 1024, raw[i], f.mode == 0 ? 1 : 2);
        put_file("a.mrc", out.bytes, out.count);
        map = read_map();
        assert_true(map.value[0] == (float)value[i]);
        sp_map_clear(&map);
    }
}

static void any_order_of_the_axes_is_read(void **state)
{
    (void)state;
    const int orders[6][3] = {{1, 2, 3}, {1, 3, 2}, {2, 1, 3}, {2, 3, 1}, {3, 1, 2}, {3, 2, 1}};

    for (int i = 0; i < 6; i++) {
        foreign f = plain;
        sp_map map;

        for (int k = 0; k < 3; k++) {
            f.axis[k] = orders[i][k];
            f.start[k] = 10 * orders[i][k]; /* follows the columns, the cell does not */
        }
        put_foreign(&f);
        map = read_map();
        assert_foreign_values(&map);
        assert_vector(map.voxel, 1.0, 2.0, 3.0);
        assert_vector(map.origin, 10.0, 40.0, 90.0);
        sp_map_clear(&map);
    }
}

static void origin_wins_over_start_and_the_cell_may_be_larger(void **state)
{
    (void)state;
    foreign f = plain;
    sp_map map;

    f.start[0] = 7;
    f.origin[1] = -4.5F;
    f.extended = EXTENDED;
    f.m[0] = 2 * NX; /* part of a cell */
    f.m[1] = 0;      /* never set */
    put_foreign(&f);
    map = read_map();
    assert_foreign_values(&map);
    assert_vector(map.origin, 0.0, -4.5, 0.0);
    assert_vector(map.voxel, 0.5, 2.0, 3.0);
    sp_map_clear(&map);
    f.cell[2] = 0.0F;
    put_foreign(&f);
    map = read_map();
    assert_false(map.scaled);
    assert_vector(map.voxel, 1.0, 1.0, 1.0);
    sp_map_clear(&map);
}

static void gzip_is_undone_and_its_truncation_noticed(void **state)
{
    (void)state;
    const buffer out = make_foreign(&plain);
    gzFile gz = gzopen("a.mrc", "wb");
    char bytes[2048];
    size_t size = 0;
    sp_map map;

    assert_int_equal(gzwrite(gz, out.bytes, (unsigned)out.count), out.count);
    assert_int_equal(gzclose(gz), Z_OK);
    size = get_file("a.mrc", bytes, sizeof bytes);
    assert_true(size < out.count / 2);
    map = read_map();
    assert_foreign_values(&map);
    sp_map_clear(&map);
    for (size_t cut = 1; cut < size - 8; cut += 7) { /* the last 8 bytes are a check sum */
        put_file("a.mrc", bytes, cut);
        assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "");
    }
}

/* ---- what is refused ---- */

static void truncated_maps_are_refused(void **state)
{
    (void)state;
    foreign f = plain;
    buffer out;
    sp_map map;

    f.extended = EXTENDED;
    out = make_foreign(&f);
    for (size_t cut = 0; cut < out.count; cut += cut < 1020 ? 51 : 1) {
        put_file("a.mrc", out.bytes, cut);
        assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "truncated");
    }
}

static void assert_foreign_refused(const foreign *f, const char *reason)
{
    sp_map map;

    put_foreign(f);
    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", reason);
}

static void impossible_headers_are_refused(void **state)
{
    (void)state;
    foreign f = plain;

    f.n[1] = -3;
    assert_foreign_refused(&f, "-3 voxels");
    f.n[1] = 1 << 20;
    assert_foreign_refused(&f, "1048576 voxels");
    f.n[0] = f.n[1] = f.n[2] = 1 << 14; /* 17 TB */
    assert_foreign_refused(&f, "truncated");
    f = plain;
    f.cell[1] = NAN;
    assert_foreign_refused(&f, "cell edge nan");
    f.cell[1] = -6.0F;
    assert_foreign_refused(&f, "cell edge -6");
    f = plain;
    f.origin[2] = INFINITY;
    assert_foreign_refused(&f, "origin inf");
    f = plain;
    f.angle = 120.0F;
    assert_foreign_refused(&f, "120 degrees");
    f = plain;
    f.mode = 4;
    assert_foreign_refused(&f, "mode 4");
    f.mode = -1;
    assert_foreign_refused(&f, "mode -1");
}

static void what_is_no_map_is_refused_by_name(void **state)
{
    (void)state;
    buffer out = make_foreign(&plain);
    char text[2048];
    sp_map map;

    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "No such file");
    assert_refused(sp_mrc_read(".", &map), SP_ERR_INPUT, ".", "directory");
    memset(text, 'x', sizeof text);
    put_file("a.mrc", text, sizeof text);
    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "not a map");
    put_at(&out, 68, 1, 4); /* columns and rows are both x */
    put_file("a.mrc", out.bytes, out.count);
    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "MAPC");
    out = make_foreign(&plain);
    put_at(&out, 64, INT32_MAX, 4);
    put_file("a.mrc", out.bytes, out.count);
    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "a.mrc", "MAPC");
    out = make_foreign(&plain);
    put_real(&out, 1024 + 4 * (NX * NY + NX + 1), NAN);
    put_file("a.mrc", out.bytes, out.count);
    assert_refused(sp_mrc_read("a.mrc", &map), SP_ERR_INPUT, "nan", "column 1, row 1, section 1");
}

static void impossible_maps_are_not_written(void **state)
{
    (void)state;
    const float value[8] = {[6] = NAN}, good[8] = {0};
    char bytes[2048];

    assert_int_equal(sp_mrc_write("a.mrc", 1, ANGSTROM, good, NULL), SP_OK);
    assert_refused(sp_mrc_write("a.mrc", 0, ANGSTROM, good, NULL), SP_ERR_USAGE, "a.mrc", "0 voxels");
    assert_refused(sp_mrc_write("a.mrc", 2049, ANGSTROM, good, NULL), SP_ERR_USAGE, "a.mrc", "2049");
    assert_refused(sp_mrc_write("a.mrc", 2, 0.0, good, NULL), SP_ERR_USAGE, "a.mrc", "voxel size 0");
    assert_refused(sp_mrc_write("a.mrc", 2, NAN, good, NULL), SP_ERR_USAGE, "a.mrc", "voxel size nan");
    assert_refused(sp_mrc_write("a.mrc", 2, ANGSTROM, value, NULL), SP_ERR_NUMERIC, "nan", "x 1, y 1, z 0");
    assert_refused(sp_mrc_write("no/a.mrc", 2, ANGSTROM, good, NULL), SP_ERR_OUTPUT, "no/a.mrc", "No such file");
    assert_int_equal(get_file("a.mrc", bytes, sizeof bytes), 1028); /* still the first */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        scratch_test(a_written_map_has_every_field_of_the_format),
        scratch_test(maps_of_any_edge_come_back),
        scratch_test(a_map_can_be_written_anywhere),
        scratch_test(maps_are_recognized_by_their_signature),
        scratch_test(long_and_many_notes_are_cut),
        scratch_test(written_maps_pass_foreign_validators),
        scratch_test(every_mode_and_byte_order_is_read),
        scratch_test(negative_and_large_numbers_keep_their_value),
        scratch_test(any_order_of_the_axes_is_read),
        scratch_test(origin_wins_over_start_and_the_cell_may_be_larger),
        scratch_test(gzip_is_undone_and_its_truncation_noticed),
        scratch_test(truncated_maps_are_refused),
        scratch_test(impossible_headers_are_refused),
        scratch_test(what_is_no_map_is_refused_by_name),
        scratch_test(impossible_maps_are_not_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
