/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/interrupt.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>

/* The one mutable global of the program: a signal handler is given no handle. */
static atomic_bool interrupted;

static void set_handler(int signal_number, void (*handler)(int))
{
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART}; /* reads and writes go on */
    struct sigaction before;

    sigemptyset(&action.sa_mask);
    sigaction(signal_number, NULL, &before);
    if (before.sa_handler != SIG_IGN) {
        sigaction(signal_number, &action, NULL);
    }
}

/* sigaction() and lock-free atomics are safe in a handler (signal-safety(7); C17 7.14.1.1). */
static void on_signal(int signal_number)
{
    (void)signal_number;
    atomic_store(&interrupted, true);
    set_handler(SIGINT, SIG_DFL);
    set_handler(SIGTERM, SIG_DFL);
}

void sp_interrupt_watch(void)
{
    atomic_store(&interrupted, false);
    set_handler(SIGINT, on_signal);
    set_handler(SIGTERM, on_signal);
}

bool sp_interrupted(void)
{
    return atomic_load_explicit(&interrupted, memory_order_relaxed);
}
