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
    uint32_t dependent;
    if (fit_least_squares(x, set.y, set.rows, set.terms, true, &fit, &dependent, &error))
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
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(fit_least_squares(x, y, 4, 3, true, &fit, &dependent, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "depends linearly"));
    assert_in_range(dependent, 1, 2);
    assert_int_equal(fit_least_squares(x, y, 3, 3, true, &fit, &dependent, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "too few"));
    assert_int_equal(dependent, 3);
}

/* Rounding of long columns must not hide a dependence, nor scale feign one. */
static void dependence_is_seen_through_rounding_and_scale(void **state)
{
    (void)state;
    enum { N = 20000 };
    double *x = malloc(N * 3 * sizeof(double)), *y = malloc(N * sizeof(double));
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    assert_true(x && y);
    for (int i = 0; i < N; i++) {
        x[i * 3] = 1;
        x[i * 3 + 1] = sin(i);
        x[i * 3 + 2] = sin(i) / 3 + 0.1;
        y[i] = cos(i);
    }
    assert_int_equal(fit_least_squares(x, y, N, 3, true, &fit, &dependent, &error), MAAS_E_INVALID);
    for (int i = 0; i < N; i++) {
        x[i * 3 + 2] = cos(i) * 1e-200;
        y[i] = 2 + sin(i) - 3 * cos(i);
    }
    assert_int_equal(fit_least_squares(x, y, N, 3, true, &fit, &dependent, &error), MAAS_OK);
    assert_true(digits(fit.beta[0], 2) > 13 && digits(fit.beta[1], 1) > 13 &&
                digits(fit.beta[2], -3e200) > 13);
    fit_release(&fit);
    free(x);
    free(y);
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
    uint32_t dependent;
    assert_int_equal(fit_least_squares(x, y, 5, 2, true, &m->fit, &dependent, &error), MAAS_OK);
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
    assert_memory_equal(m.fit.root, back.fit.root, 4 * sizeof(double));
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
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    for (size_t cut = 0; cut + 1 < len; cut++) { /* without its last newline it is still whole */
        write_file("model.txt", text, cut);
        assert_int_not_equal(linreg_read(dir, &back, &error), MAAS_OK);
    }
    text[len] = 'x';
    write_file("model.txt", text, len + 1);
    assert_int_not_equal(linreg_read(dir, &back, &error), MAAS_OK);
}

/* Every byte of a good model replaced by some others: read or refused, never a crash, and what is
 * read is finite. */
static void a_model_with_any_byte_changed_is_harmless(void **state)
{
    (void)state;
    static const char others[] = "0-9nx \n\xff";
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
    for (size_t at = 0; at < len; at++)
        for (size_t o = 0; o < sizeof(others); o++) { /* its NUL too */
            char held = text[at];
            text[at] = others[o];
            write_file("model.txt", text, len);
            text[at] = held;
            if (linreg_read(dir, &back, &error))
                continue;
            assert_true(back.fit.p <= LINREG_COLUMNS_MAX && back.fit.n > back.fit.p);
            assert_true(isfinite(back.fit.beta[0]) && back.fit.sigma2 >= 0);
            linreg_release(&back);
        }
}

static void impossible_counts_and_numbers_are_refused(void **state)
{
    (void)state;
    static const char *const models[] = {
        "linreg 1\ntarget t\nfeatures 4000000000 1 1\n",
        "linreg 1\ntarget t\nfeatures 1024 20 1\n",
        "linreg 1\ntarget t\nfeatures 1 -1 1\n",
        "linreg 1\ntarget t\nfeatures 1 1 2\n",
        "linreg 2\ntarget t\nfeatures 1 1 0\n",
        "linreg 1\ntarget t\nfeatures 1 1 0\nname x\nrows 1\nsigma2 1\nr2 1\n"
        "coefficient 1 1\nroot 1\nend\n", /* no degree of freedom */
        "linreg 1\ntarget t\nfeatures 1 1 0\nname x\nrows 9\nsigma2 nan\nr2 1\n"
        "coefficient 1 1\nroot 1\nend\n",
        "linreg 1\ntarget t\nfeatures 1 1 0\nname x\nrows 9\nsigma2 1\nr2 1\n"
        "coefficient inf 1\nroot 1\nend\n",
    };
    for (size_t i = 0; i < sizeof(models) / sizeof(models[0]); i++) {
        struct linreg back;
        maas_error error = MAAS_ERROR_INIT;
        write_file("model.txt", models[i], strlen(models[i]));
        assert_int_equal(linreg_read(dir, &back, &error), MAAS_E_DATA_LOSS);
    }
}

static void a_bad_table_names_line_and_column(void **state)
{
    (void)state;
    static const struct {
        const char *csv, *says;
    } bad[] = {
        { "a,b\n1\n", "train.csv: line 2 does not have 2 columns" },
        { "a,b\n1,2\n1,2,3\n", "line 3 does not have 2 columns" },
        { "a,,b\n1,2,3\n", "line 1: column 2 has a name of 0 bytes" },
        { "a,b,\"a\"\n1,2,3\n", "two columns are named 'a'" },
        { "a\n1\n", "two columns" },
        { "a,b\n", "one row" },
        { "", "two columns" },
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table t;
        maas_error error = MAAS_ERROR_INIT;
        write_file("train.csv", bad[i].csv, strlen(bad[i].csv));
        assert_int_equal(table_read(dir, "train.csv", &t, &error), MAAS_E_INVALID);
        if (!strstr(error.text, bad[i].says))
            fail_msg("case %zu says '%s'", i, error.text);
    }
}

static void a_column_without_numbers_is_an_error_once_it_is_used(void **state)
{
    (void)state;
    static const char csv[] = "\xef\xbb\xbf\"id\",good,empty,nan,text\r\n"
                              "p1,1e3, 2 ,4,5\r\n\r\np2,-.5,,nan,0x\r\n";
    static const char *const bad[] = { "id", "empty", "nan", "text", "absent" };
    static const char *const says[] = { "line 2", "line 4", "line 4", "line 4", "no column" };
    struct table t;
    uint32_t at;
    maas_error error = MAAS_ERROR_INIT;
    write_file("train.csv", csv, sizeof(csv) - 1);
    assert_int_equal(table_read(dir, "train.csv", &t, &error), MAAS_OK);
    assert_int_equal(t.rows, 2);
    assert_int_equal(table_column(&t, "good", 4, &at, &error), MAAS_OK);
    assert_int_equal(at, 1);
    assert_true(t.values[1] == 1000 && t.values[6] == -0.5);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(table_column(&t, bad[i], strlen(bad[i]), &at, &error), MAAS_E_INVALID);
        assert_non_null(strstr(error.text, says[i]));
    }
    table_release(&t);
}

static void a_line_without_end_is_refused(void **state)
{
    (void)state;
    struct table t;
    maas_error error = MAAS_ERROR_INIT;
    char *text = malloc(200000);
    assert_non_null(text);
    memset(text, '7', 200000);
    memcpy(text, "a,b\n1,", 6);
    write_file("train.csv", text, 200000);
    free(text);
    assert_int_equal(table_read(dir, "train.csv", &t, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "line 2 is longer"));
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
        cmocka_unit_test(dependence_is_seen_through_rounding_and_scale),
        cmocka_unit_test(students_quantile_agrees_with_the_tables),
        cmocka_unit_test(a_model_survives_its_file_to_the_bit),
        cmocka_unit_test(a_damaged_model_is_refused_wherever_it_is_cut),
        cmocka_unit_test(a_model_with_any_byte_changed_is_harmless),
        cmocka_unit_test(impossible_counts_and_numbers_are_refused),
        cmocka_unit_test(a_bad_table_names_line_and_column),
        cmocka_unit_test(a_column_without_numbers_is_an_error_once_it_is_used),
        cmocka_unit_test(a_line_without_end_is_refused),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_files();
    return failed;
}
