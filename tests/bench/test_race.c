/* SPDX-License-Identifier: BSD-3-Clause */
#include <math.h>
#include <omp.h>
#include <signal.h>

#include "base/clock.h"
#include "base/interrupt.h"
#include "bench/race.h"
#include "testing.h"

static const sp_race_rules short_rules = {.sample = 1e-3, .budget = 10.0, .rounds = 5};

typedef struct runner {
    char *order; /* where it writes its letter */
    int *length;
    char letter;
    int threads; /* that it was given */
    double work; /* [s] of this thread's time */
} runner;

static void run(void *context)
{
    runner *self = context;
    const double end = sp_clock_thread() + self->work;

    if (*self->length < 200) {
        self->order[(*self->length)++] = self->letter;
    }
    self->threads = omp_get_max_threads();
    while (sp_clock_thread() < end) {
    }
}

static void contenders_take_turns(void **state)
{
    (void)state;
    char order[201] = "";
    int length = 0;
    runner a = {.order = order, .length = &length, .letter = 'a', .work = 2e-3}, b = a;
    const sp_contender contender[] = {{.run = run, .context = &a}, {.run = run, .context = &b}};
    sp_race race;

    b.letter = 'b';
    assert_int_equal(sp_race_run(&short_rules, contender, 2, &race), SP_OK);
    assert_int_equal(race.rounds, 5);
    assert_string_equal(order, "ababababab"
                               "ab"); /* a warm-up of each, and five rounds */
}

static void short_contenders_run_until_a_sample_is_long_enough(void **state)
{
    (void)state;
    char order[201] = "";
    int length = 0;
    runner a = {.order = order, .length = &length, .letter = 'a', .work = 1e-4};
    const sp_contender contender = {.run = run, .context = &a};
    sp_race race;

    assert_int_equal(sp_race_run(&short_rules, &contender, 1, &race), SP_OK);
    assert_true(length > 2 + race.rounds * 3);
    for (int r = 0; r < race.rounds; r++) {
        assert_true(race.seconds[r][0] >= 1e-4);
    }
}

static void rounds_are_left_out_where_they_cost_too_much(void **state)
{
    (void)state;
    char order[201] = "";
    int length = 0;
    runner a = {.order = order, .length = &length, .letter = 'a', .work = 5e-3};
    const sp_contender contender = {.run = run, .context = &a};
    const sp_race_rules rules = {.sample = 1e-3, .budget = 1e-3, .rounds = 7};
    sp_race race;

    assert_int_equal(sp_race_run(&rules, &contender, 1, &race), SP_OK);
    assert_int_equal(race.rounds, 3);
}

static void each_contender_has_its_own_number_of_threads(void **state)
{
    (void)state;
    char order[201] = "";
    int length = 0;
    runner a = {.order = order, .length = &length, .letter = 'a', .work = 1e-3}, b = a;
    const sp_contender contender[] = {{.run = run, .context = &a}, {.run = run, .context = &b, .threads = 3}};
    const int before = omp_get_max_threads();
    sp_race race;

    assert_int_equal(sp_race_run(&short_rules, contender, 2, &race), SP_OK);
    assert_int_equal(a.threads, 1);
    assert_int_equal(b.threads, 3);
    assert_int_equal(omp_get_max_threads(), before);
}

static void medians_and_quartiles_are_over_the_rounds(void **state)
{
    (void)state;
    const sp_race race = {
        .rounds = 5, .contenders = 2, .seconds = {{1.0, 2.0}, {2.0, 2.0}, {3.0, 30.0}, {4.0, 12.0}, {100.0, 400.0}}};
    const sp_quartiles seconds = sp_race_seconds(&race, 0), ratio = sp_race_ratio(&race, 1, 0);

    assert_true(seconds.median == 3.0 && seconds.low == 2.0 && seconds.high == 4.0);
    assert_true(ratio.median == 3.0 && ratio.low == 2.0 && ratio.high == 4.0); /* 2, 1, 10, 3, 4 */
    assert_true(sp_race_best(&race, 0) == 1.0);
}

static void ctrl_c_ends_a_race(void **state)
{
    (void)state;
    char order[201] = "";
    int length = 0;
    runner a = {.order = order, .length = &length, .letter = 'a', .work = 1e-3};
    const sp_contender contender = {.run = run, .context = &a};
    sp_race race;

    sp_interrupt_watch();
    raise(SIGINT);
    assert_int_equal(sp_race_run(&short_rules, &contender, 1, &race), SP_ERR_INTERRUPT);
    assert_int_equal(length, 0);
    sp_interrupt_watch();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(contenders_take_turns),
        cmocka_unit_test(short_contenders_run_until_a_sample_is_long_enough),
        cmocka_unit_test(rounds_are_left_out_where_they_cost_too_much),
        cmocka_unit_test(each_contender_has_its_own_number_of_threads),
        cmocka_unit_test(medians_and_quartiles_are_over_the_rounds),
        cmocka_unit_test(ctrl_c_ends_a_race),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
