/* SPDX-License-Identifier: BSD-3-Clause */
/* Spaces, their regions, and the blocks of these. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "run/engine.h"

/* ---- blocks ---- */

sp_block *sp_block_new(sp_run *run, const char *name, ptrdiff_t index, size_t bytes, int64_t id, int owner)
{
    sp_block *self = calloc(1, sizeof *self);

    if (!self) {
        sp_run_fail(run, SP_ERR_MEMORY, NULL, 0, "no memory for a block of region %s", name);
        return NULL;
    }
    *self = (sp_block){.name = name, .index = index, .bytes = bytes, .id = id, .owner = owner};
    return self;
}

void sp_block_free(sp_run *run, sp_block *block)
{
    if (block) {
        run->calls->release(run, block);
        free(block);
    }
}

/* ---- spaces ---- */

/* The blocks from->count .. on hold `more` indices; `blocks` of them are new and spread evenly over the ranks. */
static void cut(sp_space *space, ptrdiff_t more, ptrdiff_t blocks)
{
    for (ptrdiff_t b = 0; b < blocks; b++) {
        const ptrdiff_t left = more - b * space->per_block;

        space->owner[space->blocks + b] = (int)(b * space->run->ranks / blocks);
        space->first[space->blocks + b + 1] =
            space->first[space->blocks + b] + (left < space->per_block ? left : space->per_block);
    }
    space->blocks += blocks;
    space->count += more;
}

sp_status sp_space_new(sp_run *run, ptrdiff_t count, ptrdiff_t per_block, sp_space **space)
{
    const ptrdiff_t blocks = per_block > 0 ? (count + per_block - 1) / per_block : 0;
    sp_status status = SP_OK;
    sp_space *self = NULL;

    SP_REQUIRE(count > 0 && per_block > 0, SP_ERR_USAGE, "a space of %td indices in blocks of %td", count, per_block);
    SP_TRY(SP_ARRAY(self, 1));
    SP_TRY(SP_ARRAY(self->first, blocks + 1));
    SP_TRY(SP_ARRAY(self->owner, blocks));
    self->run = run;
    self->per_block = per_block;
    cut(self, count, blocks);
    self->next = run->spaces;
    run->spaces = self;
    *space = self;
    self = NULL;
done:
    if (self) {
        sp_array_free(self->first);
        sp_array_free(self->owner);
        sp_array_free(self);
    }
    return status;
}

ptrdiff_t sp_space_count(const sp_space *space)
{
    return space->count;
}

ptrdiff_t sp_space_blocks(const sp_space *space)
{
    return space->blocks;
}

/* *array = a longer copy of it; the old one goes. */
static sp_status lengthen(void *array, ptrdiff_t count, ptrdiff_t longer, size_t size)
{
    void **place = array, *copy = NULL;
    sp_status status = SP_OK;

    SP_TRY(sp_array_new(longer, size, "blocks", &copy));
    if (count > 0) {
        memcpy(copy, *place, (size_t)count * size);
    }
    sp_array_free(*place);
    *place = copy;
done:
    return status;
}

int sp_region_owner(const sp_region *region, ptrdiff_t block, int group)
{
    const sp_space *space = region->space;
    const int ranks = space->run->ranks, first = group * region->group;
    const int members = ranks - first < region->group ? ranks - first : region->group;

    return region->group > 0 ? first + (int)((ptrdiff_t)space->owner[block] * members / ranks) : space->owner[block];
}

/* Blocks from .. to - 1 of a region, for which there is room. */
static sp_status add_blocks(sp_region *region, ptrdiff_t from, ptrdiff_t to)
{
    const sp_space *space = region->space;
    const int mine = region->group > 0 ? space->run->rank / region->group : 0;
    sp_status status = SP_OK;

    for (ptrdiff_t b = from; b < to; b++) {
        const size_t elements = region->is_objects ? 1 : (size_t)(space->first[b + 1] - space->first[b]);

        region->block[b] = sp_block_new(space->run, region->name, b, elements * region->element,
                                        sp_run_next_id(space->run), sp_region_owner(region, b, mine));
        SP_REQUIRE(region->block[b], SP_ERR_MEMORY, "no memory for the blocks of region %s", region->name);
        region->block[b]->is_object = region->is_objects;
        region->block[b]->group = region->group;
    }
done:
    return status;
}

sp_status sp_space_grow(sp_space *space, ptrdiff_t more)
{
    const ptrdiff_t blocks = (more + space->per_block - 1) / space->per_block, old = space->blocks;
    sp_status status = SP_OK;

    SP_REQUIRE(more > 0, SP_ERR_USAGE, "a space grows by %td indices", more);
    SP_TRY(lengthen(&space->first, old + 1, old + blocks + 1, sizeof *space->first));
    SP_TRY(lengthen(&space->owner, old, old + blocks, sizeof *space->owner));
    cut(space, more, blocks);
    for (sp_region *region = space->run->regions; region; region = region->next) {
        if (region->space == space) {
            SP_TRY(lengthen(&region->block, old, old + blocks, sizeof *region->block));
            SP_TRY(add_blocks(region, old, old + blocks));
        }
    }
done:
    return status;
}

/* ---- regions ---- */

static sp_status new_region(sp_space *space, const sp_region *of, sp_region **region)
{
    sp_status status = SP_OK;
    sp_region *self = NULL;

    SP_TRY(SP_ARRAY(self, 1));
    *self = *of;
    self->space = space;
    self->id = sp_run_next_id(space->run);
    self->next = space->run->regions;
    space->run->regions = self;
    SP_TRY(SP_ARRAY(self->block, space->blocks));
    SP_TRY(add_blocks(self, 0, space->blocks));
    *region = self;
    self = NULL;
done:
    sp_region_free(self);
    return status;
}

sp_status sp_region_new(sp_space *space, const char *name, size_t element, sp_region **region)
{
    return new_region(space, &(sp_region){.name = name, .element = element}, region);
}

sp_status sp_region_new_grouped(sp_space *space, const char *name, size_t element, int ranks, sp_region **region)
{
    const int all = space->run->ranks;
    sp_status status = SP_OK;

    SP_REQUIRE(ranks > 0, SP_ERR_USAGE, "region %s: groups of %d ranks", name, ranks);
    SP_TRY(
        new_region(space, &(sp_region){.name = name, .element = element, .group = ranks < all ? ranks : all}, region));
done:
    return status;
}

sp_status sp_objects_new(sp_space *space, const char *name, void (*release)(void *object), sp_region **region)
{
    return new_region(
        space, &(sp_region){.name = name, .element = sizeof(void *), .release = release, .is_objects = true}, region);
}

void sp_region_free(sp_region *region)
{
    if (!region) {
        return;
    }
    sp_run *run = region->space->run;
    sp_region **place = &run->regions;

    while (*place != region) {
        place = &(*place)->next;
    }
    *place = region->next;
    for (ptrdiff_t b = 0; region->block && b < region->space->blocks && region->block[b]; b++) {
        void *object = NULL;

        run->calls->release(run, region->block[b]); /* waits for what uses an object */
        object = region->block[b]->object;
        if (object && region->release) {
            region->release(object);
        }
        free(region->block[b]);
    }
    sp_array_free(region->block);
    sp_array_free(region);
}
