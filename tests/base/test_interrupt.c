/* SPDX-License-Identifier: BSD-3-Clause */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/interrupt.h"
#include "testing.h"

static void check_first_signal(int signal_number)
{
    sp_interrupt_watch();
    assert_false(sp_interrupted());
    assert_int_equal(raise(signal_number), 0);
    assert_true(sp_interrupted());
}

static void first_signal_only_sets_the_flag(void **state)
{
    (void)state;
    check_first_signal(SIGINT);
    check_first_signal(SIGTERM);
}

/* How a child ends that watches and then sends itself these two signals. */
static int status_after(int first, int second)
{
    int status = 0;
    const pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        sp_interrupt_watch();
        raise(first);
        raise(second);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void second_signal_ends_the_process(void **state)
{
    (void)state;
    const int status = status_after(SIGINT, SIGINT), mixed = status_after(SIGTERM, SIGINT);

    assert_true(WIFSIGNALED(status));
    assert_int_equal(WTERMSIG(status), SIGINT);
    assert_true(WIFSIGNALED(mixed));
    assert_int_equal(WTERMSIG(mixed), SIGINT);
}

static void ignored_signal_stays_ignored(void **state)
{
    (void)state;
    signal(SIGINT, SIG_IGN);
    sp_interrupt_watch();
    raise(SIGINT);
    raise(SIGINT);
    assert_false(sp_interrupted());
    signal(SIGINT, SIG_DFL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(first_signal_only_sets_the_flag),
        cmocka_unit_test(second_signal_ends_the_process),
        cmocka_unit_test(ignored_signal_stays_ignored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
