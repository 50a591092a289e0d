/* SPDX-License-Identifier: BSD-3-Clause */
#include "device/device.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/files.h"
#include "base/memory.h"
#include "base/text.h"

enum { LONGEST_PATH = 4096 };

#define TEXT_OF(name) #name
#define NAME_OF(macro) TEXT_OF(macro)

/* path = spica-cuda.so in the folder of the program's own file. */
static sp_status find_plugin(sp_text *path)
{
    char program[LONGEST_PATH];
    const ssize_t length = readlink("/proc/self/exe", program, sizeof program);

    if (length > 0 && length < LONGEST_PATH) {
        const char *slash = memrchr(program, '/', (size_t)length);

        sp_text_append_bytes(path, program, slash ? slash + 1 - program : 0);
    }
    sp_text_append(path, "spica-cuda.so");
    return sp_text_check(path);
}

/* The library stays open to the end of the program: CUDA has threads of its own. */
static sp_status load_table(const char *path, const sp_device_kernels **table)
{
    sp_status status = SP_OK;
    const sp_device_kernels *found = NULL;
    void *library = NULL;

    SP_REQUIRE(sp_file_exists(path), SP_ERR_USAGE,
               "%s is not there: build spica where CUDA's compiler nvcc is installed, with -DSPICA_CUDA=ON", path);
    library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    SP_REQUIRE(library, SP_ERR_USAGE, "%s; spica needs the libraries of CUDA where it uses a GPU", dlerror());
    found = dlsym(library, NAME_OF(SP_DEVICE_TABLE));
    SP_REQUIRE(found && strcmp(found->version, SPICA_VERSION) == 0 && found->bytes == sizeof *found, SP_ERR_USAGE,
               "%s belongs to another version of spica: build both together", path);
    *table = found;
done:
    return status;
}

static sp_status open_device(const char *plugin, bool shared, int number, sp_device **device)
{
    sp_status status = SP_OK;
    sp_device *self = NULL;
    sp_text own = {0};
    int gpus = 1;

    if (!plugin) {
        SP_TRY(find_plugin(&own));
        plugin = sp_text_string(&own);
    }
    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(load_table(plugin, &self->kernels));
    if (shared) {
        SP_TRY(self->kernels->count(&gpus));
        number %= gpus;
    }
    SP_TRY(self->kernels->open(self, number));
    *device = self;
    self = NULL;
done:
    sp_array_free(self);
    sp_text_clear(&own);
    return status;
}

sp_status sp_device_open(const char *plugin, int number, sp_device **device)
{
    return open_device(plugin, false, number, device);
}

sp_status sp_device_open_shared(const char *plugin, int process, sp_device **device)
{
    return open_device(plugin, true, process, device);
}

void sp_device_close(sp_device *device)
{
    if (!device) {
        return;
    }
    device->kernels->close(device);
    sp_array_free(device);
}
