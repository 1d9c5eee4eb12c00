/*
 * Linear regression against the certified results of NIST's Statistical Reference Datasets (StRD),
 * and its files as hostile input. The data sets are found by MAAS_TEST_DATA; unset, those tests are
 * skipped and say so.
 */
#include "linreg.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS_MAX  64
#define TERMS_MAX 8

struct nist {
    double beta[TERMS_MAX], error[TERMS_MAX], r2;
    uint32_t terms;
    double x[ROWS_MAX][TERMS_MAX], y[ROWS_MAX];
    uint32_t rows, features;
};

/* The files' own layout: certified values as "B0 value error", then "Data: y x…" and the rows. */
static void nist_read(const char *name, struct nist *out)
{
    char path[1024], line[512];
    bool data = false;
    memset(out, 0, sizeof(*out));
    snprintf(path, sizeof(path), "%s/regression/nist/%s.dat", getenv("MAAS_TEST_DATA"), name);
    FILE *file = fopen(path, "r");
    if (!file)
        fail_msg("MAAS_TEST_DATA is set but '%s' is missing", path);
    while (fgets(line, sizeof(line), file)) {
        uint32_t term;
        double value, error;
        if (!data && sscanf(line, " B%u %lf %lf", &term, &value, &error) == 3 && term < TERMS_MAX) {
            out->beta[out->terms] = value;
            out->error[out->terms++] = error;
        } else if (!data && sscanf(line, " R-Squared %lf", &value) == 1) {
            out->r2 = value;
        } else if (strncmp(line, "Data:", 5) == 0 && out->terms > 0) {
            data = true;
        } else if (data && out->rows < ROWS_MAX) {
            char *at = line, *end;
            out->y[out->rows] = strtod(at, &end);
            uint32_t n = 0;
            for (at = end; (out->x[out->rows][n] = strtod(at, &end)), end != at; at = end)
                n++;
            out->features = n > 0 ? n : out->features;
            out->rows += n > 0;
        }
    }
    fclose(file);
    assert_true(out->rows > out->terms && out->terms > 1);
}

/* Digits of agreement, as NIST scores it: -log10 of the relative error. */
static double digits(double got, double certified)
{
    double e = certified == 0 ? fabs(got) : fabs(got - certified) / fabs(certified);
    return e == 0 ? 15 : fmin(15, -log10(e));
}

static void certified(const char *name, uint32_t degree, double least)
{
    struct nist set;
    struct fit fit;
    double x[ROWS_MAX * TERMS_MAX], worst = 15, worst_error = 15;
    maas_error error = MAAS_ERROR_INIT;
    if (!getenv("MAAS_TEST_DATA")) {
        print_message("skipped: MAAS_TEST_DATA is not set\n");
        skip();
    }
    nist_read(name, &set);
    struct linreg m = { .features = set.features, .degree = degree, .intercept = true };
    for (uint32_t i = 0; i < set.rows; i++)
        linreg_expand(&m, set.x[i], x + i * set.terms);
    assert_int_equal(set.terms, set.features * degree + 1);
    if (fit_least_squares(x, set.y, set.rows, set.terms, true, &fit, &error))
        fail_msg("%s: %s", name, error.text);
    for (uint32_t j = 0; j < set.terms; j++) {
        worst = fmin(worst, digits(fit.beta[j], set.beta[j]));
        if (set.error[j] > 0)
            worst_error = fmin(worst_error, digits(fit.error[j], set.error[j]));
    }
    print_message("%s: %.1f digits, standard errors %.1f, R2 %.1f\n", name, worst, worst_error,
                  digits(fit.r2, set.r2));
    double r2 = digits(fit.r2, set.r2);
    fit_release(&fit);
    assert_true(worst >= least && worst_error >= least && r2 >= least);
}

static void longley_and_norris_have_nine_certified_digits(void **state)
{
    (void)state;
    certified("Longley", 1, 9);
    certified("Norris", 1, 9);
}

static void wampler_1_to_5_have_seven_certified_digits(void **state)
{
    (void)state;
    static const char *const names[] = { "Wampler1", "Wampler2", "Wampler3", "Wampler4",
                                         "Wampler5" };
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
        certified(names[i], 5, 7);
}

static void dependent_columns_and_too_few_rows_are_refused(void **state)
{
    (void)state;
    static const double x[] = { 1, 1, 2, 1, 2, 4, 1, 3, 6, 1, 4, 8 }, y[] = { 1, 2, 3, 5 };
    struct fit fit;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(fit_least_squares(x, y, 4, 3, true, &fit, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "depends linearly"));
    assert_int_equal(fit_least_squares(x, y, 3, 3, true, &fit, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "too few"));
}

static void students_quantile_agrees_with_the_tables(void **state)
{
    (void)state;
    assert_true(fabs(student_t975(1) - 12.7062047361747) < 1e-9);
    assert_true(fabs(student_t975(9) - 2.26215716279820) < 1e-9);
    assert_true(fabs(student_t975(431) - 1.96548314494) < 1e-6);
}

/* ---- files */

static char dir[] = "/tmp/maas-linreg-XXXXXX";

static void write_file(const char *name, const char *text, size_t len)
{
    char path[1024];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(text, 1, len, file);
    fclose(file);
}

static void fit_small(struct linreg *m)
{
    static const double x[] = { 1, 0, 1, 1, 1, 2, 1, 3, 1, 5 }, y[] = { 1, 3.1, 4.9, 7.2, 10.9 };
    maas_error error = MAAS_ERROR_INIT;
    memset(m, 0, sizeof(*m));
    m->features = m->degree = 1;
    m->intercept = true;
    snprintf(m->target, sizeof(m->target), "the target");
    m->names = calloc(1, sizeof(*m->names));
    snprintf(m->names[0], sizeof(m->names[0]), "x 1");
    assert_int_equal(fit_least_squares(x, y, 5, 2, true, &m->fit, &error), MAAS_OK);
}

static void a_model_survives_its_file_to_the_bit(void **state)
{
    (void)state;
    struct linreg m, back;
    maas_error error = MAAS_ERROR_INIT;
    fit_small(&m);
    assert_int_equal(linreg_write(dir, &m, &error), MAAS_OK);
    assert_int_equal(linreg_read(dir, &back, &error), MAAS_OK);
    assert_memory_equal(m.fit.beta, back.fit.beta, 2 * sizeof(double));
    assert_memory_equal(m.fit.covariance, back.fit.covariance, 4 * sizeof(double));
    assert_string_equal(back.names[0], "x 1");
    assert_string_equal(back.target, "the target");
    linreg_release(&m);
    linreg_release(&back);
}

static void a_damaged_model_is_refused_wherever_it_is_cut(void **state)
{
    (void)state;
    struct linreg m, back;
    char path[1024], text[8192];
    maas_error error = MAAS_ERROR_INIT;
    fit_small(&m);
    assert_int_equal(linreg_write(dir, &m, &error), MAAS_OK);
    linreg_release(&m);
    snprintf(path, sizeof(path), "%s/model.txt", dir);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text), file);
    fclose(file);
    const char *last_word = strrchr(text, ' ');
    assert_non_null(last_word);
    for (size_t cut = 0; text + cut <= last_word; cut++) {
        write_file("model.txt", text, cut);
        assert_int_not_equal(linreg_read(dir, &back, &error), MAAS_OK);
    }
    text[len] = 'x';
    write_file("model.txt", text, len + 1);
    assert_int_not_equal(linreg_read(dir, &back, &error), MAAS_OK);
    static const char huge[] = "linreg 1\ntarget t\nfeatures 4000000000 1 1\n";
    write_file("model.txt", huge, sizeof(huge) - 1);
    assert_int_equal(linreg_read(dir, &back, &error), MAAS_E_DATA_LOSS);
}

static void a_bad_table_names_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *says;
    } bad[] = {
        { "a,b\n1,2\n3,x\n", "line 3: column 'b'" },
        { "a,b\n1\n", "line 2: column 'a'" },
        { "a,b\n1,2,3\n", "line 2: column 'b'" },
        { "a,b\n1,nan\n", "line 2: column 'b'" },
        { "a,,b\n1,2,3\n", "column 2" },
        { "a\n1\n", "two columns" },
        { "a,b\n", "one row" },
        { "", "two columns" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table t;
        maas_error error = MAAS_ERROR_INIT;
        write_file("train.csv", bad[i].csv, strlen(bad[i].csv));
        assert_int_equal(table_read(dir, &t, &error), MAAS_E_INVALID);
        if (!strstr(error.text, bad[i].says))
            fail_msg("case %zu says '%s'", i, error.text);
    }
}

static void remove_files(void)
{
    char path[1024];
    static const char *const names[] = { "model.txt", "train.csv" };
    for (size_t i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        unlink(path);
    }
    rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longley_and_norris_have_nine_certified_digits),
        cmocka_unit_test(wampler_1_to_5_have_seven_certified_digits),
        cmocka_unit_test(dependent_columns_and_too_few_rows_are_refused),
        cmocka_unit_test(students_quantile_agrees_with_the_tables),
        cmocka_unit_test(a_model_survives_its_file_to_the_bit),
        cmocka_unit_test(a_damaged_model_is_refused_wherever_it_is_cut),
        cmocka_unit_test(a_bad_table_names_line_and_column),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return failed;
}
