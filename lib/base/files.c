/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/text.h"

enum { FILE_MODE = 0666, FOLDER_MODE = 0777 }; /* less what the user's umask takes away */

static sp_status write_all(int file, const char *path, const char *bytes, size_t count)
{
    sp_status status = SP_OK;

    while (count > 0) {
        const ssize_t written = write(file, bytes, count);

        if (written < 0 && errno == EINTR) {
            continue;
        }
        SP_REQUIRE(written >= 0, SP_ERR_OUTPUT, "%s: cannot write: %s", path, strerror(errno));
        bytes += written;
        count -= (size_t)written;
    }
done:
    return status;
}

/* Some file systems and devices have nothing to flush and say EINVAL: that is no loss. */
static sp_status flush(int file, const char *path)
{
    sp_status status = SP_OK;

    SP_REQUIRE(fsync(file) == 0 || errno == EINVAL, SP_ERR_OUTPUT, "%s: cannot write: %s", path, strerror(errno));
done:
    return status;
}

static sp_status write_new(const char *path, const void *bytes, size_t count)
{
    sp_status status = SP_OK;
    int closed = 0;
    const int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, FILE_MODE);

    SP_REQUIRE(file >= 0, SP_ERR_OUTPUT, "%s: cannot create: %s", path, strerror(errno));
    status = write_all(file, path, bytes, count);
    status = status == SP_OK ? flush(file, path) : status;
    closed = close(file);
    SP_TRY(status); /* the first failure is the one to tell */
    SP_REQUIRE(closed == 0, SP_ERR_OUTPUT, "%s: cannot write: %s", path, strerror(errno));
done:
    return status;
}

sp_status sp_file_flush(const char *path)
{
    sp_status status = SP_OK;
    const int file = open(path, O_RDONLY | O_CLOEXEC);

    SP_REQUIRE(file >= 0, SP_ERR_OUTPUT, "%s: %s", path, strerror(errno));
    SP_TRY(flush(file, path));
done:
    if (file >= 0) {
        close(file);
    }
    return status;
}

sp_status sp_file_write_atomic(const char *path, const void *bytes, size_t count)
{
    sp_status status = SP_OK;
    sp_text temporary = {0};
    bool created = false;

    sp_text_append(&temporary, "%s.tmp", path);
    SP_TRY(sp_text_check(&temporary));
    SP_REQUIRE(!sp_folder_exists(path), SP_ERR_OUTPUT, "%s: is a folder, a file is to be written", path);
    created = true;
    SP_TRY(write_new(sp_text_string(&temporary), bytes, count));
    SP_REQUIRE(rename(sp_text_string(&temporary), path) == 0, SP_ERR_OUTPUT, "%s: cannot rename %s.tmp to it: %s", path,
               path, strerror(errno));
    created = false;
done:
    if (created) {
        unlink(sp_text_string(&temporary));
    }
    sp_text_clear(&temporary);
    return status;
}

static sp_status read_all(FILE *file, const char *path, size_t largest, sp_text *text)
{
    sp_status status = SP_OK;
    char block[65536];
    size_t count = 0;

    while ((count = fread(block, 1, sizeof block, file)) > 0) {
        SP_REQUIRE(count <= largest - text->length, SP_ERR_INPUT, "%s: larger than the %zu bytes allowed here", path,
                   largest);
        sp_text_append_bytes(text, block, count);
        SP_TRY(sp_text_check(text));
    }
    SP_REQUIRE(!ferror(file), SP_ERR_INPUT, "%s: cannot read: %s", path, strerror(errno));
done:
    return status;
}

sp_status sp_file_read(const char *path, size_t largest, char **bytes, size_t *count)
{
    sp_status status = SP_OK;
    sp_text text = {0};
    FILE *file = fopen(path, "rbe");
    size_t length = 0;

    SP_REQUIRE(file, SP_ERR_INPUT, "%s: cannot open: %s", path, strerror(errno));
    SP_TRY(read_all(file, path, largest, &text));
    length = text.length;
    SP_TRY(sp_text_take(&text, bytes));
    if (count) {
        *count = length;
    }
done:
    if (file) {
        fclose(file);
    }
    sp_text_clear(&text);
    return status;
}

static sp_status make_one(const char *path)
{
    sp_status status = SP_OK;

    if (mkdir(path, FOLDER_MODE) != 0) {
        const int reason = errno;

        SP_REQUIRE(sp_folder_exists(path), SP_ERR_OUTPUT, "%s: cannot make the folder: %s", path, strerror(reason));
    }
done:
    return status;
}

sp_status sp_folder_make(const char *path)
{
    sp_status status = SP_OK;
    char *part = NULL;
    sp_text copy = {0};

    SP_REQUIRE(*path, SP_ERR_OUTPUT, "the name of a folder to make is empty");
    sp_text_append(&copy, "%s", path);
    SP_TRY(sp_text_take(&copy, &part));
    for (char *slash = strchr(part + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        SP_TRY(make_one(part));
        *slash = '/';
    }
    SP_TRY(make_one(part));
done:
    sp_array_free(part);
    sp_text_clear(&copy);
    return status;
}

bool sp_file_exists(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && !S_ISDIR(about.st_mode);
}

bool sp_folder_exists(const char *path)
{
    struct stat about;

    return stat(path, &about) == 0 && S_ISDIR(about.st_mode);
}

sp_status sp_path_join(const char *folder, const char *name, char **path)
{
    sp_status status = SP_OK;
    sp_text text = {0};
    const size_t length = strlen(folder);

    if (length > 0 && *name != '/') {
        sp_text_append(&text, "%s%s", folder, folder[length - 1] == '/' ? "" : "/");
    }
    sp_text_append(&text, "%s", name);
    SP_TRY(sp_text_take(&text, path));
done:
    sp_text_clear(&text);
    return status;
}

const char *sp_path_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}
