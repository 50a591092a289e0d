/* SPDX-License-Identifier: BSD-3-Clause */
/* Threads, memory and streams of a GPU that is not there. See emulator.h. */
#include "device/emulator.h"

#include <setjmp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <chrono>
#include <deque>
#include <map>
#include <mutex>
#include <vector>

#ifdef SP_EMULATED_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

enum {
    WARP = 32,
    MOST_THREADS = 1024,          /* of a block */
    STACK = 256 << 10,            /* [byte] of a thread that waits */
    SHARED_BY_DEFAULT = 48 << 10, /* [byte] of dynamic shared memory */
    SHARED_AT_MOST = 227 << 10,   /* [byte] on sm_90 */
    POISON = 0xff,                /* a NaN in any floating-point type */
    DEVICE_ALIGNMENT = 256,       /* [byte] of cudaMalloc */
};

static const size_t DEVICE_MEMORY = (size_t)4 << 30; /* [byte] */

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

[[noreturn]] static void fail(const char *where, const char *what)
{
    fprintf(stderr, "emulated GPU: %s: block (%u, %u, %u), thread (%u, %u, %u): %s\n", where, blockIdx.x, blockIdx.y,
            blockIdx.z, threadIdx.x, threadIdx.y, threadIdx.z, what);
    abort();
}

/* ---- contexts to switch between ---- */

struct fiber {
    ucontext_t context;
    jmp_buf jump; /* where it goes on, once it has been left */
    bool left;
    char *stack;  /* lowest byte */
    void *shadow; /* of the address sanitizer, while the fiber does not run */
    const void *bottom;
    size_t size;
};

static fiber host; /* what called the kernel */

#ifdef SP_EMULATED_ASAN
static void leave(fiber *from, const fiber *to)
{
    __sanitizer_start_switch_fiber(&from->shadow, to->bottom, to->size);
}

static void arrive(fiber *at, fiber *from)
{
    __sanitizer_finish_switch_fiber(at->shadow, &from->bottom, &from->size);
}
#else
static void leave(fiber *from, const fiber *to)
{
    (void)from, (void)to;
}

static void arrive(fiber *at, fiber *from)
{
    (void)at, (void)from;
}
#endif

#ifdef SP_EMULATED_ASAN
static void jump(fiber *from, fiber *to)
{
    swapcontext(&from->context, &to->context);
}
#else
/* Contexts begin fibers; later jumps spare the system call that a context makes for the mask of signals. */
static void jump(fiber *from, fiber *to)
{
    from->left = true;
    if (_setjmp(from->jump) != 0) {
        return;
    }
    if (to->left) {
        _longjmp(to->jump, 1);
    }
    setcontext(&to->context);
}
#endif

static void switch_fiber(fiber *from, fiber *to)
{
    leave(from, to);
    jump(from, to);
    arrive(from, to);
}

static fiber *new_fiber(void (*run)())
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    fiber *self = new fiber();
    void *memory = mmap(NULL, STACK + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED || mprotect(memory, page, PROT_NONE) != 0) {
        fail("new_fiber", "no memory");
    }
    self->stack = (char *)memory + page;
    self->bottom = self->stack;
    self->size = STACK;
    getcontext(&self->context);
    self->context.uc_stack.ss_sp = self->stack;
    self->context.uc_stack.ss_size = STACK;
    makecontext(&self->context, run, 0);
    return self;
}

static void free_fiber(fiber *self)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);

    munmap(self->stack - page, STACK + page);
    delete self;
}

/* ---- one block ---- */

enum thread_state { NEW, READY, RUNS, WAITS, DONE };

struct gpu_thread {
    thread_state state;
    fiber *on; /* NULL until it waits for the first time */
    sp_emulated_meeting meeting;
    unsigned mask;
    int turn; /* which of the two sets of slots it uses next */
};

/* The block that runs. Threads that never wait run on one fiber, one after the other; a thread that waits keeps the
 * fiber, and the next ones get another. */
struct block {
    const sp_emulated_launch *launch;
    int threads, left;
    int current; /* the thread that runs */
    int started; /* threads that were begun, in the order of the first pass */
    bool backwards;
    gpu_thread thread[MOST_THREADS];
    uint64_t slot[MOST_THREADS / WARP][2][WARP];
    fiber *running;
    std::vector<fiber *> idle;
    std::vector<char> shared;

    ~block()
    {
        for (fiber *each : idle) {
            free_fiber(each);
        }
    }
};

static block now;

static int in_order(int i)
{
    return now.backwards ? now.threads - 1 - i : i;
}

static void become(int index)
{
    const unsigned t = (unsigned)index, x = blockDim.x, y = blockDim.y;

    now.current = index;
    threadIdx = {t % x, t / x % y, t / x / y};
}

/* Runs threads that were not begun yet until there are none, and rests. */
static void run_threads()
{
    arrive(now.running, &host);
    for (;;) {
        while (now.started < now.threads) {
            become(in_order(now.started++));
            now.launch->run();
            now.thread[now.current].state = DONE;
            now.left--;
        }
        now.idle.push_back(now.running);
        switch_fiber(now.running, &host);
    }
}

static void resume(fiber *on)
{
    now.running = on;
    switch_fiber(&host, on);
}

/* The thread that runs waits until `state` is READY again. */
static void wait_for(sp_emulated_meeting meeting, unsigned mask)
{
    const int index = now.current;
    gpu_thread *self = &now.thread[index];

    self->state = WAITS;
    self->meeting = meeting;
    self->mask = mask;
    self->on = now.running;
    switch_fiber(now.running, &host);
    become(index);
}

void __syncthreads()
{
    wait_for(SP_MEET_BLOCK, 0);
}

int sp_emulated_lane()
{
    return now.current % WARP;
}

const uint64_t *sp_emulated_meet(sp_emulated_meeting meeting, unsigned mask, uint64_t bits)
{
    gpu_thread *self = &now.thread[now.current];
    uint64_t *slot = now.slot[now.current / WARP][self->turn];

    if (!(mask >> sp_emulated_lane() & 1)) {
        fail(now.launch->name, "the thread's own lane is not in the mask of a warp function");
    }
    self->turn ^= 1;
    slot[sp_emulated_lane()] = bits;
    wait_for(meeting, mask);
    return slot;
}

/* Have all threads that this one waits for in its warp arrived? */
static bool warp_is_complete(int waiting)
{
    const gpu_thread *self = &now.thread[waiting];
    const int first = waiting / WARP * WARP;

    for (int lane = 0; lane < WARP && first + lane < now.threads; lane++) {
        const gpu_thread *other = &now.thread[first + lane];

        if (!(self->mask >> lane & 1)) {
            continue;
        }
        if (other->state == DONE) {
            become(first + lane);
            fail(now.launch->name, "a thread has ended that others wait for in a warp function");
        }
        if (other->state != WAITS || other->meeting == SP_MEET_BLOCK) {
            return false;
        }
        if (other->meeting != self->meeting || other->mask != self->mask) {
            become(first + lane);
            fail(now.launch->name, "the threads of a warp meet in different functions, or with different masks");
        }
    }
    return true;
}

static bool all_wait_for_the_block()
{
    for (int i = 0; i < now.threads; i++) {
        if (now.thread[i].state != DONE && (now.thread[i].state != WAITS || now.thread[i].meeting != SP_MEET_BLOCK)) {
            return false;
        }
    }
    return true;
}

/* Threads whose meeting is complete may go on. */
static void release()
{
    std::vector<int> ready;

    for (int i = 0; i < now.threads; i++) {
        if (now.thread[i].state == WAITS && now.thread[i].meeting != SP_MEET_BLOCK && warp_is_complete(i)) {
            ready.push_back(i);
        }
    }
    const bool all = ready.empty() && all_wait_for_the_block();
    for (int i = 0; i < now.threads && all; i++) {
        if (now.thread[i].state == WAITS) {
            now.thread[i].state = READY;
        }
    }
    for (int i : ready) {
        now.thread[i].state = READY;
    }
}

/* Every thread that can run does, up to where it waits. Returns how many did. */
static int run_pass()
{
    int ran = 0;

    for (int i = 0; i < now.threads; i++) {
        gpu_thread *t = &now.thread[in_order(i)];

        if (t->state == NEW) {
            if (now.idle.empty()) {
                now.idle.push_back(new_fiber(run_threads));
            }
            fiber *on = now.idle.back();
            now.idle.pop_back();
            resume(on);
            ran++;
        } else if (t->state == READY) {
            t->state = RUNS;
            resume(t->on);
            ran++;
        }
    }
    return ran;
}

#ifndef SP_EMULATED_ASAN
extern "C" char __start_sp_shared[] __attribute__((weak)), __stop_sp_shared[] __attribute__((weak));

static void poison_shared()
{
    if (__start_sp_shared) {
        memset(__start_sp_shared, POISON, (size_t)(__stop_sp_shared - __start_sp_shared));
    }
}
#else
static void poison_shared()
{
}
#endif

static void run_block(bool backwards)
{
    now.left = now.threads;
    now.started = 0;
    now.backwards = backwards;
    for (int i = 0; i < now.threads; i++) {
        now.thread[i] = {};
    }
    now.shared.assign(now.shared.size(), (char)POISON);
    poison_shared();
    while (now.left > 0) {
        if (run_pass() == 0) {
            fail(now.launch->name, "the threads of a block wait for each other for ever");
        }
        release();
        now.backwards = !now.backwards;
    }
}

static void run_kernel(const sp_emulated_launch &launch)
{
    now.launch = &launch;
    now.threads = (int)(launch.block.x * launch.block.y * launch.block.z);
    now.shared = std::vector<char>(launch.shared);
    gridDim = launch.grid;
    blockDim = launch.block;
    for (unsigned z = 0; z < launch.grid.z; z++) {
        for (unsigned y = 0; y < launch.grid.y; y++) {
            for (unsigned x = 0; x < launch.grid.x; x++) {
                blockIdx = {x, y, z};
                run_block((x + y + z) % 2 != 0);
            }
        }
    }
}

void *sp_emulated_dynamic_shared()
{
    return now.shared.data();
}

/* ---- memory of the device ---- */

struct allocation {
    char *pages; /* the last of them stays closed */
    size_t length, bytes, used;
};

static std::map<const char *, allocation> memory; /* by first byte */
static size_t memory_used;
static std::recursive_mutex lock; /* one host thread at a time */

static void protect_memory(int how)
{
    for (const auto &entry : memory) {
        mprotect(entry.second.pages, entry.second.length, how);
    }
}

/* Does [start, start + bytes) lie in one array of the device? */
static bool on_device(const void *start, size_t bytes)
{
    auto entry = memory.upper_bound((const char *)start);

    if (entry == memory.begin()) {
        return false;
    }
    --entry;
    return (const char *)start + bytes <= entry->first + entry->second.bytes;
}

/* Does any byte belong to an array of the device? */
static bool touches_device(const void *start, size_t bytes)
{
    auto entry = memory.lower_bound((const char *)start + bytes);

    if (bytes == 0 || entry == memory.begin()) {
        return false;
    }
    --entry;
    return entry->first + entry->second.bytes > (const char *)start;
}

/* ---- streams: one line of work, done when somebody waits ---- */

static std::deque<std::function<void()>> line;
static cudaError_t last_error;

static cudaError_t remember(cudaError_t error)
{
    last_error = error != cudaSuccess ? error : last_error;
    return error;
}

static void finish()
{
    if (line.empty()) {
        return;
    }
    protect_memory(PROT_READ | PROT_WRITE);
    for (const auto &work : line) {
        work();
    }
    line.clear();
    protect_memory(PROT_NONE);
}

void sp_emulated_later(const std::function<void()> &work)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);

    line.push_back(work);
}

static std::map<const void *, size_t> shared_limit; /* [byte] that kernels were allowed */

void sp_emulated_start(const sp_emulated_launch &launch)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);
    const size_t threads = (size_t)launch.block.x * launch.block.y * launch.block.z;
    const auto limit = shared_limit.find(launch.kernel);

    if (threads == 0 || threads > MOST_THREADS || launch.block.z > 64 || launch.grid.x == 0 ||
        launch.grid.x > 0x7fffffffu || launch.grid.y == 0 || launch.grid.y > 65535 || launch.grid.z == 0 ||
        launch.grid.z > 65535) {
        remember(cudaErrorInvalidConfiguration);
    } else if (launch.shared > (limit == shared_limit.end() ? (size_t)SHARED_BY_DEFAULT : limit->second)) {
        remember(cudaErrorInvalidValue);
    } else {
        line.push_back([=] { run_kernel(launch); });
    }
}

cudaError_t sp_emulated_allow_shared(const void *kernel, cudaFuncAttribute attribute, int bytes)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);

    if (attribute != cudaFuncAttributeMaxDynamicSharedMemorySize || bytes < 0 || bytes > SHARED_AT_MOST) {
        return remember(cudaErrorInvalidValue);
    }
    shared_limit[kernel] = (size_t)bytes;
    return cudaSuccess;
}

/* ---- the runtime ---- */

const char *cudaGetErrorString(cudaError_t error)
{
    switch (error) {
    case cudaSuccess:
        return "no error";
    case cudaErrorInvalidValue:
        return "invalid argument";
    case cudaErrorMemoryAllocation:
        return "out of memory";
    case cudaErrorInvalidConfiguration:
        return "invalid configuration argument";
    case cudaErrorNoDevice:
        return "no CUDA-capable device is detected";
    case cudaErrorInvalidDevice:
        return "invalid device ordinal";
    }
    return "unknown error";
}

cudaError_t cudaGetLastError()
{
    const std::lock_guard<std::recursive_mutex> guard(lock);
    const cudaError_t error = last_error;

    last_error = cudaSuccess;
    return error;
}

/* As with the true one, an empty CUDA_VISIBLE_DEVICES hides it. */
cudaError_t cudaGetDeviceCount(int *count)
{
    const char *visible = getenv("CUDA_VISIBLE_DEVICES");

    *count = visible && !visible[0] ? 0 : 1;
    return *count ? cudaSuccess : remember(cudaErrorNoDevice);
}

cudaError_t cudaSetDevice(int device)
{
    return device == 0 ? cudaSuccess : remember(cudaErrorInvalidDevice);
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp *properties, int device)
{
    if (device != 0) {
        return remember(cudaErrorInvalidDevice);
    }
    *properties = {};
    snprintf(properties->name, sizeof properties->name, "emulated");
    properties->totalGlobalMem = DEVICE_MEMORY;
    properties->sharedMemPerBlockOptin = SHARED_AT_MOST;
    properties->major = 9;
    properties->multiProcessorCount = 2; /* few, so that tests see loops over blocks go round */
    properties->l2CacheSize = 50 << 20;
    return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t *available, size_t *total)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);

    *available = DEVICE_MEMORY - memory_used;
    *total = DEVICE_MEMORY;
    return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize()
{
    const std::lock_guard<std::recursive_mutex> guard(lock);

    finish();
    return cudaSuccess;
}

#ifdef SP_EMULATED_ASAN
static void watch(const void *start, size_t bytes)
{
    ASAN_POISON_MEMORY_REGION(start, bytes);
}

static void unwatch(const void *start, size_t bytes)
{
    ASAN_UNPOISON_MEMORY_REGION(start, bytes);
}
#else
static void watch(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
}

static void unwatch(const void *start, size_t bytes)
{
    (void)start, (void)bytes;
}
#endif

/* The array ends where the closed page begins, but for the alignment. */
cudaError_t cudaMalloc(void **result, size_t bytes)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t used = (bytes + DEVICE_ALIGNMENT - 1) / DEVICE_ALIGNMENT * DEVICE_ALIGNMENT;
    const size_t length = (used + page - 1) / page * page;

    if (bytes == 0) {
        *result = NULL;
        return cudaSuccess;
    }
    if (bytes > DEVICE_MEMORY || used > DEVICE_MEMORY - memory_used) {
        return remember(cudaErrorMemoryAllocation);
    }
    void *pages = mmap(NULL, length + page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pages == MAP_FAILED) {
        return remember(cudaErrorMemoryAllocation);
    }
    char *first = (char *)pages + length - used;
    mprotect(pages, length, PROT_READ | PROT_WRITE);
    memset(first, POISON, used);
    mprotect(pages, length, PROT_NONE);
    watch(first + bytes, used - bytes);
    memory[first] = {(char *)pages, length, bytes, used};
    memory_used += used;
    *result = first;
    return cudaSuccess;
}

cudaError_t cudaFree(void *array)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);
    const auto entry = memory.find((const char *)array);

    if (!array) {
        return cudaSuccess;
    }
    finish();
    if (entry == memory.end()) {
        return remember(cudaErrorInvalidValue);
    }
    const allocation a = entry->second;
    mprotect(a.pages, a.length, PROT_READ);
    unwatch(entry->first + a.bytes, a.used - a.bytes);
    for (size_t i = a.bytes; i < a.used; i++) {
        if (entry->first[i] != (char)POISON) {
            fail("cudaFree", "somebody wrote beyond the end of an array");
        }
    }
    munmap(a.pages, a.length + (size_t)sysconf(_SC_PAGESIZE));
    memory_used -= a.used;
    memory.erase(entry);
    return cudaSuccess;
}

cudaError_t cudaMallocHost(void **array, size_t bytes)
{
    *array = malloc(bytes);
    return *array ? cudaSuccess : remember(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void *array)
{
    cudaDeviceSynchronize();
    free(array);
    return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t bytes, cudaMemcpyKind kind, cudaStream_t stream)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);
    const bool to_device = kind != cudaMemcpyDeviceToHost, from_device = kind != cudaMemcpyHostToDevice;

    (void)stream;
    if (bytes == 0) {
        return cudaSuccess;
    }
    if ((to_device ? !on_device(to, bytes) : touches_device(to, bytes)) ||
        (from_device ? !on_device(from, bytes) : touches_device(from, bytes))) {
        return remember(cudaErrorInvalidValue);
    }
    line.push_back([=] { memmove(to, from, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t bytes, cudaMemcpyKind kind)
{
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, kind, NULL);

    cudaDeviceSynchronize();
    return error;
}

cudaError_t cudaMemsetAsync(void *array, int value, size_t bytes, cudaStream_t stream)
{
    const std::lock_guard<std::recursive_mutex> guard(lock);

    (void)stream;
    if (bytes == 0) {
        return cudaSuccess;
    }
    if (!on_device(array, bytes)) {
        return remember(cudaErrorInvalidValue);
    }
    line.push_back([=] { memset(array, value, bytes); });
    return cudaSuccess;
}

cudaError_t cudaMemset(void *array, int value, size_t bytes)
{
    return cudaMemsetAsync(array, value, bytes, NULL);
}

struct CUstream_st {
    unsigned flags;
};

struct CUevent_st {
    std::chrono::steady_clock::time_point when;
};

cudaError_t cudaStreamCreateWithFlags(cudaStream_t *stream, unsigned flags)
{
    *stream = new CUstream_st{flags};
    return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
    cudaDeviceSynchronize();
    delete stream;
    return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
    (void)stream;
    return cudaDeviceSynchronize();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned flags)
{
    (void)stream, (void)event, (void)flags; /* all work is in one line */
    return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
    *event = new CUevent_st{};
    return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
    cudaDeviceSynchronize();
    delete event;
    return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream)
{
    (void)stream;
    sp_emulated_later([=] { event->when = std::chrono::steady_clock::now(); });
    return cudaSuccess;
}

cudaError_t cudaEventSynchronize(cudaEvent_t event)
{
    (void)event;
    return cudaDeviceSynchronize();
}

cudaError_t cudaEventElapsedTime(float *milliseconds, cudaEvent_t start, cudaEvent_t stop)
{
    *milliseconds = std::chrono::duration<float, std::milli>(stop->when - start->when).count();
    return cudaSuccess;
}
