/* SPDX-License-Identifier: BSD-3-Clause */
#include "io/h5.h"

#include <errno.h>
#include <fcntl.h>
#include <hdf5.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"

enum { CAUSE_LENGTH = 160, SHAPE_LENGTH = 160 };
static const hsize_t CHUNK_BYTES = 1 << 20; /* one chunk decompresses inside the cache of HDF5 */
static const size_t LONGEST_STRING = 1 << 26;

struct sp_h5 {
    hid_t id;
    char *path;      /* as the user wrote it */
    char *temporary; /* where a new file grows; NULL in a file opened for reading */
    int compression;
    char cause[CAUSE_LENGTH];
};

/* ---- what HDF5 says went wrong ---- */

static herr_t keep_innermost(unsigned depth, const H5E_error2_t *error, void *text)
{
    if (depth == 0) {
        const char *system_error = strstr(error->desc, "error message = '");
        const char *start = system_error ? system_error + strlen("error message = '") : error->desc;
        const int length = system_error ? (int)strcspn(start, "'") : (int)strlen(start);

        snprintf(text, CAUSE_LENGTH, "%.*s", length, start);
    }
    return 0;
}

/* The innermost reason of the last failed HDF5 call; to be asked before any other call of HDF5. */
static const char *cause(sp_h5 *file)
{
    snprintf(file->cause, CAUSE_LENGTH, "no reason given");
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_innermost, file->cause);
    return file->cause;
}

/* ---- files ---- */

/* NULL: no memory. */
static sp_h5 *file_new(const char *path, bool temporary)
{
    sp_h5 *self = calloc(1, sizeof *self);

    if (!self) {
        return NULL;
    }
    self->id = H5I_INVALID_HID;
    self->path = strdup(path);
    if (!self->path || (temporary && asprintf(&self->temporary, "%s.tmp", path) < 0)) {
        self->temporary = NULL; /* asprintf() leaves it undefined */
        sp_h5_close(self);
        return NULL;
    }
    return self;
}

/* Refuse what is not a file of some length, in the words of the system rather than those of HDF5. */
static sp_status check_readable(const char *path)
{
    sp_status status = SP_OK;
    struct stat about;
    const int descriptor = open(path, O_RDONLY | O_CLOEXEC);

    SP_REQUIRE(descriptor >= 0 && fstat(descriptor, &about) == 0, SP_ERR_INPUT, "%s: %s", path, strerror(errno));
    SP_REQUIRE(!S_ISDIR(about.st_mode), SP_ERR_INPUT, "%s: is a directory, an HDF5 file is needed", path);
    SP_REQUIRE(about.st_size > 0, SP_ERR_INPUT, "%s: the file is empty, was it written to the end?", path);
done:
    if (descriptor >= 0) {
        close(descriptor);
    }
    return status;
}

/* To be called before any other function of HDF5. Files are closed here, so nothing is left to do at exit, where HDF5
 * would crash on a file that a full disk did not let it finish. Failures are told once, by sp_error_text(). */
static void prepare_library(void)
{
    H5dont_atexit();
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
}

bool sp_h5_recognize(const char *path)
{
    prepare_library();
    return H5Fis_hdf5(path) > 0;
}

/* Access through this handle only: whatever is still open inside the file closes with it. */
static hid_t strong_access(void)
{
    hid_t access = H5I_INVALID_HID;

    prepare_library();
    access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fclose_degree(access, H5F_CLOSE_STRONG);
    return access;
}

sp_status sp_h5_open(const char *path, sp_h5 **file)
{
    sp_status status = SP_OK;
    const hid_t access = strong_access();
    sp_h5 *self = NULL;

    SP_TRY(check_readable(path));
    self = file_new(path, false);
    SP_REQUIRE(self, SP_ERR_MEMORY, "%s: no memory to open it", path);
    SP_REQUIRE(H5Fis_hdf5(path) > 0, SP_ERR_INPUT, "%s: not an HDF5 file", path);
    self->id = H5Fopen(path, H5F_ACC_RDONLY, access);
    SP_REQUIRE(self->id >= 0, SP_ERR_INPUT, "%s: damaged HDF5 file (%s)", path, cause(self));
    *file = self;
    self = NULL;
done:
    sp_h5_close(self);
    H5Pclose(access);
    return status;
}

sp_status sp_h5_create(const char *path, sp_h5 **file)
{
    sp_status status = SP_OK;
    const hid_t access = strong_access();
    sp_h5 *self = NULL;

    self = file_new(path, true);
    SP_REQUIRE(self, SP_ERR_MEMORY, "%s: no memory to create it", path);
    self->id = H5Fcreate(self->temporary, H5F_ACC_TRUNC, H5P_DEFAULT, access);
    SP_REQUIRE(self->id >= 0, SP_ERR_OUTPUT, "%s: cannot be created (%s)", self->temporary, cause(self));
    *file = self;
    self = NULL;
done:
    sp_h5_close(self);
    H5Pclose(access);
    return status;
}

sp_status sp_h5_commit_take(sp_h5 *file)
{
    sp_status status = SP_OK;

    if (!file) {
        return SP_OK;
    }
    SP_REQUIRE(H5Fflush(file->id, H5F_SCOPE_GLOBAL) >= 0, SP_ERR_OUTPUT, "%s: cannot be written (%s)", file->path,
               cause(file));
    SP_REQUIRE(H5Fclose(file->id) >= 0, SP_ERR_OUTPUT, "%s: cannot be written (%s)", file->path, cause(file));
    file->id = H5I_INVALID_HID;
    SP_TRY(sp_file_flush(file->temporary));
    SP_REQUIRE(rename(file->temporary, file->path) == 0, SP_ERR_OUTPUT, "%s: cannot be renamed to %s (%s)",
               file->temporary, file->path, strerror(errno));
    free(file->temporary);
    file->temporary = NULL; /* nothing left to remove */
done:
    sp_h5_close(file);
    return status;
}

void sp_h5_close(sp_h5 *file)
{
    if (!file) {
        return;
    }
    if (file->id >= 0) {
        H5Fclose(file->id);
    }
    if (file->temporary) {
        unlink(file->temporary);
    }
    free(file->temporary);
    free(file->path);
    free(file);
}

const char *sp_h5_path(const sp_h5 *file)
{
    return file->path;
}

void sp_h5_compress(sp_h5 *file, int level)
{
    file->compression = level;
}

/* ---- what is in it ---- */

bool sp_h5_exists(sp_h5 *file, const char *name)
{
    char *prefix = strdup(name);
    bool exists = prefix != NULL;

    /* H5Lexists() wants to be asked about every step of the path */
    for (char *slash = prefix; exists && slash; slash = strchr(slash + 1, '/')) {
        const char kept = *slash;

        *slash = '\0';
        exists = *prefix == '\0' || H5Lexists(file->id, prefix, H5P_DEFAULT) > 0;
        *slash = kept;
    }
    exists = exists && (strcmp(name, "/") == 0 || (H5Lexists(file->id, name, H5P_DEFAULT) > 0 &&
                                                   H5Oexists_by_name(file->id, name, H5P_DEFAULT) > 0));
    free(prefix);
    return exists;
}

/* Kind and name of a type; the name as h5py and numpy say it. */
static void describe_type(hid_t type, sp_h5_info *info)
{
    const H5T_class_t class = H5Tget_class(type);
    const size_t bits = 8 * H5Tget_size(type);

    info->kind = SP_H5_OTHER;
    snprintf(info->type, sizeof info->type, class == H5T_COMPOUND ? "compound" : "unusual");
    if (class == H5T_INTEGER) {
        info->kind = SP_H5_INTEGER;
        snprintf(info->type, sizeof info->type, "%sint%zu", H5Tget_sign(type) == H5T_SGN_NONE ? "u" : "", bits);
    } else if (class == H5T_ENUM) {
        info->kind = SP_H5_INTEGER;
        snprintf(info->type, sizeof info->type, "enumeration");
    } else if (class == H5T_FLOAT) {
        info->kind = SP_H5_REAL;
        snprintf(info->type, sizeof info->type, "float%zu", bits);
    } else if (class == H5T_STRING) {
        info->kind = SP_H5_STRING;
        snprintf(info->type, sizeof info->type, "string");
    }
}

static bool describe_shape(hid_t space, sp_h5_info *info)
{
    hsize_t shape[H5S_MAX_RANK];

    info->rank = H5Sget_simple_extent_ndims(space);
    info->count = H5Sget_simple_extent_type(space) == H5S_NULL ? 0 : 1;
    if (info->rank < 0 || info->rank > SP_H5_RANK || H5Sget_simple_extent_dims(space, shape, NULL) < 0) {
        return false;
    }
    for (int i = 0; i < info->rank; i++) {
        if (shape[i] > PTRDIFF_MAX || __builtin_mul_overflow(info->count, (ptrdiff_t)shape[i], &info->count)) {
            return false;
        }
        info->shape[i] = (ptrdiff_t)shape[i];
    }
    return true;
}

static bool describe(hid_t dataset, sp_h5_info *info)
{
    const hid_t type = H5Dget_type(dataset), space = H5Dget_space(dataset);
    const bool known = type >= 0 && space >= 0 && describe_shape(space, info);

    if (known) {
        describe_type(type, info);
    }
    H5Sclose(space);
    H5Tclose(type);
    return known;
}

static sp_status open_dataset(sp_h5 *file, const char *name, hid_t *dataset, sp_h5_info *info)
{
    sp_status status = SP_OK;

    SP_REQUIRE(sp_h5_exists(file, name), SP_ERR_INPUT, "%s: no dataset `%s` in it", file->path, name);
    *dataset = H5Dopen2(file->id, name, H5P_DEFAULT);
    SP_REQUIRE(*dataset >= 0, SP_ERR_INPUT, "%s: `%s` is not a readable dataset (%s)", file->path, name, cause(file));
    SP_REQUIRE(describe(*dataset, info), SP_ERR_INPUT, "%s: `%s` has an impossible shape", file->path, name);
done:
    return status;
}

static void close_dataset(hid_t dataset)
{
    if (dataset >= 0) {
        H5Dclose(dataset);
    }
}

sp_status sp_h5_get_info(sp_h5 *file, const char *name, sp_h5_info *info)
{
    hid_t dataset = H5I_INVALID_HID;
    const sp_status status = open_dataset(file, name, &dataset, info);

    close_dataset(dataset);
    return status;
}

bool sp_h5_fits(const sp_h5_info *info, int rank, const ptrdiff_t *shape)
{
    ptrdiff_t count = 1;
    int i = 0;

    for (int j = 0; j < rank; j++) {
        count *= shape[j];
        while (i < info->rank && info->shape[i] == 1) {
            i++;
        }
        if (shape[j] != 1 && (i == info->rank || info->shape[i++] != shape[j])) {
            return false;
        }
    }
    return count == info->count; /* nothing but ones is left over; an empty dataset is not a scalar */
}

char *sp_h5_shape_text(int rank, const ptrdiff_t *shape, size_t size, char *text)
{
    size_t used = 0;

    snprintf(text, size, "scalar");
    for (int i = 0; i < rank && used < size; i++) {
        used += (size_t)snprintf(text + used, size - used, "[%td]", shape[i]);
    }
    return text;
}

typedef struct walk {
    sp_h5 *file;
    sp_h5_visitor visit;
    void *context;
    sp_status status;
} walk;

static herr_t visit_link(hid_t group, const char *name, const H5L_info_t *about, void *user)
{
    walk *self = user;
    sp_h5_info info = {0};
    const hid_t object = H5Oopen(group, name, H5P_DEFAULT); /* a dangling link opens nothing and is left out */

    (void)about;
    if (object >= 0 && H5Iget_type(object) == H5I_DATASET && describe(object, &info)) {
        self->status = self->visit(self->context, name, &info);
    }
    if (object >= 0) {
        H5Oclose(object);
    }
    return self->status == SP_OK ? 0 : 1;
}

sp_status sp_h5_visit(sp_h5 *file, sp_h5_visitor visit, void *context)
{
    sp_status status = SP_OK;
    walk self = {.file = file, .visit = visit, .context = context, .status = SP_OK};

    SP_REQUIRE(H5Lvisit(file->id, H5_INDEX_NAME, H5_ITER_INC, visit_link, &self) >= 0, SP_ERR_INPUT,
               "%s: damaged HDF5 file (%s)", file->path, cause(file));
    status = self.status;
done:
    return status;
}

/* ---- datasets of numbers ---- */

/* Refuse data packed by a filter that is not installed. */
static sp_status check_filters(const sp_h5 *file, const char *name, hid_t dataset)
{
    sp_status status = SP_OK;
    const hid_t layout = H5Dget_create_plist(dataset);
    const int filters = H5Pget_nfilters(layout);

    for (int i = 0; i < filters; i++) {
        char filter[64] = "";
        size_t values = 0;
        unsigned flags = 0;
        const H5Z_filter_t id = H5Pget_filter2(layout, (unsigned)i, &flags, &values, NULL, sizeof filter, filter, NULL);

        SP_REQUIRE(H5Zfilter_avail(id) > 0, SP_ERR_INPUT,
                   "%s: `%s` is compressed by filter %d (%.63s), which is not installed; try h5repack -f GZIP=4",
                   file->path, name, (int)id, *filter ? filter : "no name");
    }
done:
    H5Pclose(layout);
    return status;
}

/* Refuse a dataset that does not hold such numbers in such a shape. */
static sp_status check_numbers(const sp_h5 *file, const char *name, const sp_h5_info *info, hid_t type)
{
    sp_status status = SP_OK;
    const bool wants_integers = H5Tget_class(type) == H5T_INTEGER;

    SP_REQUIRE(info->kind == SP_H5_INTEGER || (info->kind == SP_H5_REAL && !wants_integers), SP_ERR_INPUT,
               "%s: `%s` is of type %s, %s are needed", file->path, name, info->type,
               wants_integers ? "integers" : "real numbers");
done:
    return status;
}

static sp_status read_numbers(sp_h5 *file, const char *name, hid_t type, int rank, const ptrdiff_t *shape, void *data)
{
    sp_status status = SP_OK;
    hid_t dataset = H5I_INVALID_HID;
    char has[SHAPE_LENGTH], needs[SHAPE_LENGTH];
    sp_h5_info info = {0};

    SP_TRY(open_dataset(file, name, &dataset, &info));
    SP_TRY(check_numbers(file, name, &info, type));
    SP_REQUIRE(sp_h5_fits(&info, rank, shape), SP_ERR_INPUT, "%s: `%s` has shape %s, %s is needed", file->path, name,
               sp_h5_shape_text(info.rank, info.shape, sizeof has, has),
               sp_h5_shape_text(rank, shape, sizeof needs, needs));
    SP_TRY(check_filters(file, name, dataset));
    SP_REQUIRE(H5Dread(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, SP_ERR_INPUT,
               "%s: `%s` cannot be read (%s)", file->path, name, cause(file));
done:
    close_dataset(dataset);
    return status;
}

/* Rows of about CHUNK_BYTES. */
static void choose_chunk(int rank, const hsize_t *shape, size_t size, hsize_t *chunk)
{
    hsize_t row = size;

    for (int i = 1; i < rank; i++) {
        chunk[i] = shape[i];
        row *= shape[i];
    }
    chunk[0] = row < CHUNK_BYTES ? CHUNK_BYTES / row : 1;
    chunk[0] = chunk[0] < shape[0] ? chunk[0] : shape[0];
}

/* How a dataset lies in the file: no time stamps, so that equal results are equal files. */
static hid_t dataset_layout(const sp_h5 *file, hid_t type, int rank, const hsize_t *shape)
{
    const hid_t layout = H5Pcreate(H5P_DATASET_CREATE);
    hsize_t chunk[SP_H5_RANK], count = 1;

    H5Pset_obj_track_times(layout, false);
    for (int i = 0; i < rank; i++) {
        count *= shape[i];
    }
    if (file->compression > 0 && rank > 0 && count > 0) {
        choose_chunk(rank, shape, H5Tget_size(type), chunk);
        H5Pset_chunk(layout, rank, chunk);
        H5Pset_shuffle(layout);
        H5Pset_deflate(layout, (unsigned)file->compression);
    }
    return layout;
}

static hid_t link_with_groups(void)
{
    const hid_t link = H5Pcreate(H5P_LINK_CREATE);

    H5Pset_create_intermediate_group(link, 1);
    return link;
}

static sp_status create_dataset(sp_h5 *file, const char *name, hid_t type, int rank, const ptrdiff_t *shape,
                                hid_t *dataset)
{
    sp_status status = SP_OK;
    hsize_t lengths[SP_H5_RANK] = {0};
    hid_t space = H5I_INVALID_HID, layout = H5I_INVALID_HID;
    const hid_t link = link_with_groups();

    SP_REQUIRE(rank >= 0 && rank <= SP_H5_RANK, SP_ERR_USAGE, "`%s`: %d axes are not in 0..%d", name, rank, SP_H5_RANK);
    SP_REQUIRE(file->temporary, SP_ERR_USAGE, "%s: was opened for reading", file->path);
    for (int i = 0; i < rank; i++) {
        lengths[i] = (hsize_t)shape[i];
    }
    space = H5Screate_simple(rank, lengths, NULL);
    layout = dataset_layout(file, type, rank, lengths);
    *dataset = H5Dcreate2(file->id, name, type, space, link, layout, H5P_DEFAULT);
    SP_REQUIRE(*dataset >= 0, SP_ERR_OUTPUT, "%s: `%s` cannot be made (%s)", file->path, name, cause(file));
done:
    if (space >= 0) {
        H5Sclose(space);
        H5Pclose(layout);
    }
    H5Pclose(link);
    return status;
}

static sp_status write_numbers(sp_h5 *file, const char *name, hid_t type, int rank, const ptrdiff_t *shape,
                               const void *data)
{
    sp_status status = SP_OK;
    hid_t dataset = H5I_INVALID_HID;

    SP_TRY(create_dataset(file, name, type, rank, shape, &dataset));
    SP_REQUIRE(H5Dwrite(dataset, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0, SP_ERR_OUTPUT,
               "%s: `%s` cannot be written (%s)", file->path, name, cause(file));
done:
    close_dataset(dataset);
    return status;
}

/* Reader and writer of one C type; the files are written in the byte order of this machine. */
#define NUMBERS(noun, ctype, h5type)                                                                                   \
    sp_status sp_h5_read_##noun(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, ctype *data)          \
    {                                                                                                                  \
        return read_numbers(file, name, h5type, rank, shape, data);                                                    \
    }                                                                                                                  \
    sp_status sp_h5_write_##noun(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape, const ctype *data)   \
    {                                                                                                                  \
        return write_numbers(file, name, h5type, rank, shape, data);                                                   \
    }

NUMBERS(float, float, H5T_NATIVE_FLOAT)
NUMBERS(double, double, H5T_NATIVE_DOUBLE)
NUMBERS(int32, int32_t, H5T_NATIVE_INT32)
NUMBERS(uint8, uint8_t, H5T_NATIVE_UINT8)
NUMBERS(uint64, uint64_t, H5T_NATIVE_UINT64)

/* ---- parts of datasets ---- */

sp_status sp_h5_create_float(sp_h5 *file, const char *name, int rank, const ptrdiff_t *shape)
{
    hid_t dataset = H5I_INVALID_HID;
    const sp_status status = create_dataset(file, name, H5T_NATIVE_FLOAT, rank, shape, &dataset);

    close_dataset(dataset);
    return status;
}

/* Spaces that name rows first .. first+count-1 of a dataset, and as many packed in memory. */
static void select_rows(hid_t dataset, const sp_h5_info *info, ptrdiff_t first, ptrdiff_t count, hid_t *there,
                        hid_t *here)
{
    hsize_t start[SP_H5_RANK] = {(hsize_t)first}, length[SP_H5_RANK];

    for (int i = 0; i < info->rank; i++) {
        length[i] = (hsize_t)(i == 0 ? count : info->shape[i]);
    }
    *there = H5Dget_space(dataset);
    H5Sselect_hyperslab(*there, H5S_SELECT_SET, start, NULL, length, NULL);
    *here = H5Screate_simple(info->rank, length, NULL);
}

/* Read into `in`, or write from `out` if `in` is NULL. */
static sp_status transfer_rows(sp_h5 *file, const char *name, ptrdiff_t first, ptrdiff_t count, float *in,
                               const float *out)
{
    sp_status status = SP_OK;
    hid_t dataset = H5I_INVALID_HID, there = H5I_INVALID_HID, here = H5I_INVALID_HID;
    herr_t result = 0;
    sp_h5_info info = {0};

    SP_TRY(open_dataset(file, name, &dataset, &info));
    SP_TRY(check_numbers(file, name, &info, H5T_NATIVE_FLOAT));
    SP_REQUIRE(info.rank >= 1 && first >= 0 && count >= 0 && count <= info.shape[0] && first <= info.shape[0] - count,
               SP_ERR_USAGE, "%s: `%s`: %td rows from row %td on asked for, it has %td", file->path, name, count, first,
               info.rank >= 1 ? info.shape[0] : 0);
    SP_TRY(check_filters(file, name, dataset));
    select_rows(dataset, &info, first, count, &there, &here);
    result = in ? H5Dread(dataset, H5T_NATIVE_FLOAT, here, there, H5P_DEFAULT, in)
                : H5Dwrite(dataset, H5T_NATIVE_FLOAT, here, there, H5P_DEFAULT, out);
    SP_REQUIRE(result >= 0, in ? SP_ERR_INPUT : SP_ERR_OUTPUT, "%s: `%s` cannot be %s (%s)", file->path, name,
               in ? "read" : "written", cause(file));
done:
    if (there >= 0) {
        H5Sclose(there);
        H5Sclose(here);
    }
    close_dataset(dataset);
    return status;
}

sp_status sp_h5_write_float_rows(sp_h5 *file, const char *name, ptrdiff_t first, ptrdiff_t count, const float *data)
{
    return transfer_rows(file, name, first, count, NULL, data);
}

sp_status sp_h5_read_float_rows(sp_h5 *file, const char *name, ptrdiff_t first, ptrdiff_t count, float *data)
{
    return transfer_rows(file, name, first, count, data, NULL);
}

/* ---- strings, as datasets and as attributes ---- */

static bool is_attribute(hid_t id)
{
    return H5Iget_type(id) == H5I_ATTR;
}

/* The first `size` bytes of one fixed-length string, without its padding. */
static sp_status copy_fixed(hid_t id, hid_t type, char **text)
{
    sp_status status = SP_OK;
    const size_t size = H5Tget_size(type);
    char *copy = NULL;

    SP_REQUIRE(size <= LONGEST_STRING, SP_ERR_INPUT, "a string of %zu bytes is too long", size);
    SP_TRY(sp_array_new((ptrdiff_t)size + 1, 1, "string", (void **)&copy));
    SP_REQUIRE((is_attribute(id) ? H5Aread(id, type, copy) : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, copy)) >=
                   0,
               SP_ERR_INPUT, "the string cannot be read");
    for (size_t end = strlen(copy); H5Tget_strpad(type) == H5T_STR_SPACEPAD && end > 0 && copy[end - 1] == ' ';) {
        copy[--end] = '\0';
    }
    *text = copy;
    copy = NULL;
done:
    sp_array_free(copy);
    return status;
}

static sp_status copy_variable(hid_t id, hid_t type, char **text)
{
    sp_status status = SP_OK;
    char *borrowed = NULL, *copy = NULL; /* memory of HDF5; ours */
    const char *words = NULL;

    SP_REQUIRE((is_attribute(id) ? H5Aread(id, type, &borrowed)
                                 : H5Dread(id, type, H5S_ALL, H5S_ALL, H5P_DEFAULT, &borrowed)) >= 0,
               SP_ERR_INPUT, "the string cannot be read");
    words = borrowed ? borrowed : ""; /* never written */
    SP_TRY(sp_array_new((ptrdiff_t)strlen(words) + 1, 1, "string", (void **)&copy));
    memcpy(copy, words, strlen(words) + 1);
    *text = copy;
done:
    H5free_memory(borrowed);
    return status;
}

static sp_status read_text(hid_t id, char **text)
{
    sp_status status = SP_OK;
    const hid_t type = is_attribute(id) ? H5Aget_type(id) : H5Dget_type(id);
    const hid_t space = is_attribute(id) ? H5Aget_space(id) : H5Dget_space(id);

    SP_REQUIRE(H5Tget_class(type) == H5T_STRING && H5Sget_simple_extent_npoints(space) == 1, SP_ERR_INPUT,
               "one string is needed");
    SP_TRY(H5Tis_variable_str(type) > 0 ? copy_variable(id, type, text) : copy_fixed(id, type, text));
done:
    H5Sclose(space);
    H5Tclose(type);
    return status;
}

/* Type of one zero-terminated string. */
static hid_t text_type(const char *text)
{
    const hid_t type = H5Tcopy(H5T_C_S1);

    H5Tset_size(type, strlen(text) + 1);
    H5Tset_cset(type, H5T_CSET_UTF8);
    return type;
}

sp_status sp_h5_read_string(sp_h5 *file, const char *name, char **text)
{
    sp_status status = SP_OK;
    hid_t dataset = H5I_INVALID_HID;
    sp_h5_info info = {0};

    SP_TRY(open_dataset(file, name, &dataset, &info));
    SP_REQUIRE(read_text(dataset, text) == SP_OK, SP_ERR_INPUT, "%s: `%s`: %s", file->path, name, sp_error_text());
done:
    close_dataset(dataset);
    return status;
}

sp_status sp_h5_write_string(sp_h5 *file, const char *name, const char *text)
{
    const hid_t type = text_type(text);
    const sp_status status = write_numbers(file, name, type, 0, NULL, text);

    H5Tclose(type);
    return status;
}

sp_status sp_h5_write_group(sp_h5 *file, const char *name)
{
    sp_status status = SP_OK;
    const hid_t link = link_with_groups();
    hid_t group = H5I_INVALID_HID;

    if (!sp_h5_exists(file, name)) {
        group = H5Gcreate2(file->id, name, link, H5P_DEFAULT, H5P_DEFAULT);
        SP_REQUIRE(group >= 0, SP_ERR_OUTPUT, "%s: group `%s` cannot be made (%s)", file->path, name, cause(file));
        H5Gclose(group);
    }
done:
    H5Pclose(link);
    return status;
}

/* ---- attributes ---- */

bool sp_h5_has_attribute(sp_h5 *file, const char *object, const char *name)
{
    return sp_h5_exists(file, object) && H5Aexists_by_name(file->id, object, name, H5P_DEFAULT) > 0;
}

static sp_status open_attribute(sp_h5 *file, const char *object, const char *name, hid_t *attribute)
{
    sp_status status = SP_OK;

    SP_REQUIRE(sp_h5_has_attribute(file, object, name), SP_ERR_INPUT, "%s: `%s` has no attribute `%s`", file->path,
               object, name);
    *attribute = H5Aopen_by_name(file->id, object, name, H5P_DEFAULT, H5P_DEFAULT);
    SP_REQUIRE(*attribute >= 0, SP_ERR_INPUT, "%s: attribute `%s` of `%s` cannot be read (%s)", file->path, name,
               object, cause(file));
done:
    return status;
}

static bool attribute_describe(hid_t attribute, sp_h5_info *info)
{
    const hid_t type = H5Aget_type(attribute), space = H5Aget_space(attribute);
    const bool known = describe_shape(space, info);

    describe_type(type, info);
    H5Sclose(space);
    H5Tclose(type);
    return known;
}

static sp_status read_attribute(sp_h5 *file, const char *object, const char *name, hid_t type, ptrdiff_t count,
                                void *value)
{
    sp_status status = SP_OK;
    hid_t attribute = H5I_INVALID_HID;
    sp_h5_info info = {0};

    SP_TRY(open_attribute(file, object, name, &attribute));
    SP_REQUIRE(attribute_describe(attribute, &info) && info.count == count, SP_ERR_INPUT,
               "%s: attribute `%s` of `%s` must hold %td values", file->path, name, object, count);
    SP_TRY(check_numbers(file, name, &info, type));
    SP_REQUIRE(H5Aread(attribute, type, value) >= 0, SP_ERR_INPUT, "%s: attribute `%s` of `%s` cannot be read (%s)",
               file->path, name, object, cause(file));
done:
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    return status;
}

/* count 1 makes a single number, not a list of one. */
static sp_status write_attribute(sp_h5 *file, const char *object, const char *name, hid_t type, ptrdiff_t count,
                                 const void *value)
{
    sp_status status = SP_OK;
    const hsize_t length = (hsize_t)count;
    const hid_t space = H5Screate_simple(count == 1 ? 0 : 1, &length, NULL);
    hid_t attribute = H5I_INVALID_HID;

    attribute = H5Acreate_by_name(file->id, object, name, type, space, H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT);
    SP_REQUIRE(attribute >= 0 && H5Awrite(attribute, type, value) >= 0, SP_ERR_OUTPUT,
               "%s: attribute `%s` of `%s` cannot be written (%s)", file->path, name, object, cause(file));
done:
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    H5Sclose(space);
    return status;
}

sp_status sp_h5_read_attribute_double(sp_h5 *file, const char *object, const char *name, ptrdiff_t count, double *value)
{
    return read_attribute(file, object, name, H5T_NATIVE_DOUBLE, count, value);
}

sp_status sp_h5_read_attribute_int(sp_h5 *file, const char *object, const char *name, ptrdiff_t count, int64_t *value)
{
    return read_attribute(file, object, name, H5T_NATIVE_INT64, count, value);
}

sp_status sp_h5_read_attribute_string(sp_h5 *file, const char *object, const char *name, char **text)
{
    sp_status status = SP_OK;
    hid_t attribute = H5I_INVALID_HID;

    SP_TRY(open_attribute(file, object, name, &attribute));
    SP_REQUIRE(read_text(attribute, text) == SP_OK, SP_ERR_INPUT, "%s: attribute `%s` of `%s`: %s", file->path, name,
               object, sp_error_text());
done:
    if (attribute >= 0) {
        H5Aclose(attribute);
    }
    return status;
}

sp_status sp_h5_write_attribute_double(sp_h5 *file, const char *object, const char *name, ptrdiff_t count,
                                       const double *value)
{
    return write_attribute(file, object, name, H5T_NATIVE_DOUBLE, count, value);
}

sp_status sp_h5_write_attribute_int(sp_h5 *file, const char *object, const char *name, ptrdiff_t count,
                                    const int64_t *value)
{
    return write_attribute(file, object, name, H5T_NATIVE_INT64, count, value);
}

sp_status sp_h5_write_attribute_string(sp_h5 *file, const char *object, const char *name, const char *text)
{
    const hid_t type = text_type(text);
    const sp_status status = write_attribute(file, object, name, type, 1, text);

    H5Tclose(type);
    return status;
}
