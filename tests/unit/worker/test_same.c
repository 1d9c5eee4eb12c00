/*
 * The promise behind merging tenants' rows: 1,000 random mixed batches (tenants, surfaces, rows,
 * members that are wrong in every way) through maas.linreg give each member the answer it gets
 * alone, byte for byte. Numbers are written in their shortest form, so equal bytes are equal bits.
 */
#include "in_process.h"

#include <math.h>
#include <stdio.h>
#include <unistd.h>

#include "dice.h"
#include "engine/train_cli.h"

#define ROUNDS     1000u
#define AT_ONCE    24u
#define ROWS_MAX   6u
#define FEATURES   3u
#define BODY_BYTES 4096

static char dir[] = "/tmp/maas-batch-XXXXXX";
static struct bench bench;

static void write_data(const char *path)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "a,b,c,y\n");
    for (int i = 0; i < 200; i++) {
        double a = sin(i), b = cos(3 * i), c = sin(7 * i + 1);
        fprintf(file, "%.17g,%.17g,%.17g,%.17g\n", a, b, c,
                3 + 2 * a - b + c * a + 0.01 * sin(99 * i));
    }
    fclose(file);
}

static int set_up(void **state)
{
    (void)state;
    char path[64], model[64];
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/train.csv", dir);
    snprintf(model, sizeof(model), "%s/model", dir);
    write_data(path);
    char *argv[] = { "train",    "--plugin", PLUGINS "maas.linreg.so",
                     "--data",   dir,        "--out",
                     model,      "--option", "target=y",
                     "--option", "degree=3", NULL };
    assert_int_equal(engine_train_main(11, argv), 0);
    bench_load(&bench, PLUGINS "maas.linreg.so", model, NULL, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char command[128];
    bench_unload(&bench);
    snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    return system(command);
}

static double number(struct dice *dice)
{
    uint64_t roll = dice_roll(dice);
    if (roll % 500 == 0)
        return 1e200; /* too large to predict: the whole call fails with it */
    return ((double)(roll >> 12) / (double)(1ull << 52) - 0.5) * 10;
}

static size_t append_rows(struct dice *dice, char *at, size_t size, uint32_t rows, bool nested)
{
    size_t len = 0;
    for (uint32_t i = 0; i < rows; i++) {
        len += (size_t)snprintf(at + len, size - len, "%s%s", i ? "," : "", nested ? "[" : "");
        for (uint32_t j = 0; j < FEATURES; j++)
            len += (size_t)snprintf(at + len, size - len, "%s%.17g", j ? "," : "", number(dice));
        len += (size_t)snprintf(at + len, size - len, "%s", nested ? "]" : "");
    }
    return len;
}

static void regression(struct dice *dice, char *body, uint32_t rows)
{
    size_t len = (size_t)snprintf(body, BODY_BYTES, "{\"features\":%s", rows > 1 ? "[" : "");
    len += append_rows(dice, body + len, BODY_BYTES - len, rows, true);
    snprintf(body + len, BODY_BYTES - len, "%s%s}", rows > 1 ? "]" : "",
             dice_roll(dice) % 8 ? "" : ",\"explain\":true");
}

static void v2(struct dice *dice, char *body, uint32_t rows)
{
    size_t len = (size_t)snprintf(body, BODY_BYTES,
                                  "{\"id\":\"%llu\",\"inputs\":[{\"name\":\"features\",\"shape\":"
                                  "[%u,%u],\"datatype\":\"FP64\",\"data\":[",
                                  (unsigned long long)dice_roll(dice), rows, FEATURES);
    len += append_rows(dice, body + len, BODY_BYTES - len, rows, false);
    snprintf(body + len, BODY_BYTES - len, "]}]%s}",
             dice_roll(dice) % 2 ? ",\"outputs\":[{\"name\":\"interval\"}]" : "");
}

static void wrong(struct dice *dice, char *body)
{
    static const char *const bodies[] = { "{",
                                          "[]",
                                          "{\"features\":[1,2]}",
                                          "{\"features\":[1,2,\"x\"]}",
                                          "{\"features\":[1,2,3],\"more\":1}",
                                          "{\"inputs\":[]}",
                                          "" };
    snprintf(body, BODY_BYTES, "%s", bodies[dice_roll(dice) % COUNT_OF(bodies)]);
}

static struct shot random_shot(struct dice *dice, char *body)
{
    struct shot shot = { .body = body, .tenant = (uint8_t)(dice_roll(dice) % 5) };
    uint32_t rows = 1 + (uint32_t)(dice_roll(dice) % ROWS_MAX);
    shot.surface = dice_roll(dice) % 2 ? SURFACE_V2 : SURFACE_REGRESSION;
    if (dice_roll(dice) % 12 == 0)
        wrong(dice, body);
    else if (shot.surface == SURFACE_V2)
        v2(dice, body, rows);
    else
        regression(dice, body, rows);
    return shot;
}

static void assert_same(const struct answer *merged, const struct answer *alone)
{
    assert_int_equal(merged->frame.status, alone->frame.status);
    assert_int_equal(merged->frame.rows, alone->frame.rows);
    assert_int_equal(merged->frame.content, alone->frame.content);
    assert_string_equal(merged->param, alone->param);
    assert_string_equal(merged->text, alone->text);
    assert_string_equal(merged->body, alone->body);
}

static void merged_answers_are_those_of_single_runs(void **state)
{
    (void)state;
    static char bodies[AT_ONCE][BODY_BYTES];
    struct dice dice = { 20240601 };
    uint64_t good = 0, bad = 0;
    for (uint32_t round = 0; round < ROUNDS; round++) {
        struct shot shots[AT_ONCE];
        struct answer merged[AT_ONCE];
        uint32_t count = 2 + (uint32_t)(dice_roll(&dice) % (AT_ONCE - 1));
        for (uint32_t i = 0; i < count; i++)
            shots[i] = random_shot(&dice, bodies[i]);
        bench_round(&bench, shots, count);
        memcpy(merged, bench.answers, sizeof(merged));
        memset(bench.answers, 0, sizeof(merged));
        for (uint32_t i = 0; i < count; i++) {
            bench_round(&bench, &shots[i], 1);
            assert_same(&merged[i], &bench.answers[0]);
            *(merged[i].frame.status ? &bad : &good) += 1;
            free(merged[i].param);
            free(merged[i].text);
            free(merged[i].body);
        }
    }
    const struct server_counts *counts = server_counts(bench.server);
    print_message("%llu good, %llu bad; %llu merged calls of %llu requests, %llu of several "
                  "tenants, %llu taken apart\n",
                  (unsigned long long)good, (unsigned long long)bad,
                  (unsigned long long)counts->merged_calls, (unsigned long long)counts->merged,
                  (unsigned long long)counts->tenants, (unsigned long long)counts->split);
    assert_true(counts->tenants > ROUNDS / 2 && counts->merged > good / 2);
    assert_true(counts->split > ROUNDS / 10 && bad > ROUNDS);
}

static double number_behind(const char *body, const char *name)
{
    const char *at = strstr(body, name);
    assert_non_null(at);
    return strtod(at + strlen(name), NULL);
}

/* Through a batch: others wait, and the explained request may lead or join. */
static void an_explanation_adds_up_to_its_prediction(void **state)
{
    (void)state;
    static const struct shot plain = { .body = "{\"features\":[1,2,3]}",
                                       .surface = SURFACE_REGRESSION };
    static const struct shot explained = { .body = "{\"features\":[1,2,3],\"explain\":true}",
                                           .surface = SURFACE_REGRESSION };
    for (uint32_t at = 0; at < 3; at++) {
        struct shot shots[3] = { plain, plain, plain };
        shots[at] = explained;
        bench_round(&bench, shots, 3);
        for (uint32_t i = 0; i < 3; i++)
            assert_int_equal(strstr(bench.answers[i].body, "explanation") != NULL, i == at);
        const char *body = bench.answers[at].body;
        double sum = number_behind(body, "\"base\":") + number_behind(body, "\"a\":") +
                     number_behind(body, "\"b\":") + number_behind(body, "\"c\":");
        double prediction = number_behind(body, "\"prediction\":");
        assert_true(fabs(sum - prediction) <= 1e-9 * fabs(prediction));
        assert_true(prediction ==
                    number_behind(bench.answers[(at + 1) % 3].body, "\"prediction\":"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_explanation_adds_up_to_its_prediction),
        cmocka_unit_test(merged_answers_are_those_of_single_runs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
