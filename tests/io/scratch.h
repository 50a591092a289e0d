/* SPDX-License-Identifier: BSD-3-Clause */
#pragma once
/* scratch.h -- a fresh current folder for each test, and small files to put into it. */
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "testing.h"

/* Setup and teardown of a cmocka test: run in a new folder, remove it with its files (no folders in it). */
static inline int scratch_enter(void **state)
{
    const char *parent = getenv("TMPDIR");
    char *folder = NULL;

    if (asprintf(&folder, "%s/spica-test.XXXXXX", parent ? parent : "/tmp") < 0 || !mkdtemp(folder)) {
        return -1;
    }
    *state = folder;
    return chdir(folder);
}

static inline int scratch_leave(void **state)
{
    DIR *folder = opendir(".");

    for (struct dirent *entry = folder ? readdir(folder) : NULL; entry; entry = readdir(folder)) {
        unlink(entry->d_name);
    }
    closedir(folder);
    if (chdir("/") != 0 || rmdir(*state) != 0) {
        return -1;
    }
    free(*state);
    return 0;
}

#define scratch_test(function) cmocka_unit_test_setup_teardown(function, scratch_enter, scratch_leave)

static inline void put_file(const char *name, const void *bytes, size_t count)
{
    FILE *file = fopen(name, "wb");

    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

static inline size_t get_file(const char *name, void *bytes, size_t room)
{
    FILE *file = fopen(name, "rb");
    size_t count = 0;

    assert_non_null(file);
    count = fread(bytes, 1, room, file);
    assert_int_equal(fclose(file), 0);
    return count;
}

static inline size_t file_size(const char *name)
{
    struct stat about;

    assert_int_equal(stat(name, &about), 0);
    return (size_t)about.st_size;
}

/* The call failed with this status, and its reason names these two things in one line. */
static inline void assert_refused(sp_status status, sp_status wanted, const char *first, const char *second)
{
    const char *reason = sp_error_text();

    if (status != wanted || !strstr(reason, first) || !strstr(reason, second) || strchr(reason, '\n')) {
        fail_msg("status `%s`, reason `%s`; expected `%s` with `%s` and `%s`", sp_status_name(status), reason,
                 sp_status_name(wanted), first, second);
    }
}
