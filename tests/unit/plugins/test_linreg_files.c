/*
 * The files of linear regression: the model's as hostile input, of this version and of the first,
 * and the training data: which rows and columns, categories, empty cells, weights, and what is
 * refused with its line.
 */
#include "linreg_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <unistd.h>

static char dir[] = "/tmp/maas-linreg-XXXXXX";

static void path_of(const char *name, char out[256])
{
    snprintf(out, 256, "%s/%s", dir, name);
}

static void write_file(const char *name, const char *text, size_t len)
{
    char path[256];
    path_of(name, path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    fwrite(text, 1, len, file);
    fclose(file);
}

static void remove_file(const char *name)
{
    char path[256];
    path_of(name, path);
    unlink(path);
}

/* ---- data */

static const struct data_options plain = {
    .target = "", .features = "", .weight = "", .categories = "auto"
};

struct trained {
    struct linreg m;
    struct data *d;
};

static maas_status open_csv(const char *csv, const struct data_options *options,
                            enum linreg_missing missing, struct trained *out, maas_error *error)
{
    memset(out, 0, sizeof(*out));
    out->m.degree = 1;
    out->m.intercept = true;
    out->m.missing = missing;
    write_file("train.csv", csv, strlen(csv));
    return data_open(dir, options, NULL, &out->m, &out->d, error);
}

static void close_csv(struct trained *t)
{
    data_close(t->d);
    linreg_release(&t->m);
}

/* The data points to the model: *out stays where it is. */
static void train(struct trained *out, const char *csv, const struct data_options *options,
                  enum linreg_missing missing)
{
    struct rows rows;
    struct fit_plan plan;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    if (open_csv(csv, options, missing, out, &error))
        fail_msg("%s", error.text);
    data_plan(out->d, &rows, &plan);
    if (fit_least_squares(&rows, &plan, &out->m.fit, &dependent, &error))
        fail_msg("%s", error.text);
}

static void refuse(const char *csv, const struct data_options *options, enum linreg_missing missing,
                   const char *says)
{
    struct trained t;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(open_csv(csv, options, missing, &t, &error), MAAS_E_INVALID);
    if (!strstr(error.text, says))
        fail_msg("'%s' says '%s', not '%s'", csv, error.text, says);
    close_csv(&t);
}

static void near(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-12 * fmax(1, fabs(wanted)))
        fail_msg("%.17g is not %.17g", got, wanted);
}

/* y = 1 + 2 x, and 10 more in Rome, -5 in Oslo; Athens is the reference, being the first by name.
 */
#define CITIES "x,city,y\n1,Rome,13\n2,Oslo,0\n3,Athens,7\n4,Rome,19\n5,\"Athens\",11\n6,Oslo,8\n"

static void categories_are_one_hot_with_the_first_as_reference(void **state)
{
    (void)state;
    struct trained t;
    train(&t, CITIES, &plain, LINREG_REFUSE);
    const struct column *city = &t.m.columns[1];
    assert_int_equal(city->level_count, 3);
    assert_string_equal(city->levels[0], "Athens");
    assert_string_equal(city->levels[2], "Rome");
    assert_int_equal(t.m.fit.p, 4);
    near(t.m.fit.beta[0], 1);
    near(t.m.fit.beta[1], 2);
    near(t.m.fit.beta[2], -5);
    near(t.m.fit.beta[3], 10);
    near(t.m.fit.mean[3], 1.0 / 3);
    assert_true(linreg_takes_text(&t.m));
    close_csv(&t);
}

static void numbers_are_categories_when_they_are_listed(void **state)
{
    (void)state;
    static const char csv[] = "zone,x,y\n10,1,3\n9,2,9\n10,3,7\n9,4,13\n7,5,1\n7,7,6\n";
    struct data_options o = plain;
    o.categories = "zone";
    struct trained t;
    train(&t, csv, &o, LINREG_REFUSE);
    assert_string_equal(t.m.columns[0].levels[0], "10"); /* by bytes */
    close_csv(&t);
    o.categories = "area";
    refuse(csv, &o, LINREG_REFUSE, "'categories' is auto, refuse or features of the model");
    o.categories = "refuse";
    refuse(CITIES, &o, LINREG_REFUSE, "train.csv, line 2: column 'city' is not one finite number");
}

static void texts_among_numbers_are_refused_with_their_line(void **state)
{
    (void)state;
    refuse("x,z,y\n1,2,3\n2,NA,4\n3,4,5\n", &plain, LINREG_REFUSE,
           "train.csv, line 3: column 'z' holds 'NA' where other rows hold numbers");
}

static void what_is_not_finite_is_refused_with_line_and_column(void **state)
{
    (void)state;
    static const char *const cells[] = { "nan", "inf", "-Infinity", "1e999", "NaN " };
    for (size_t i = 0; i < sizeof(cells) / sizeof(cells[0]); i++) {
        char csv[128];
        snprintf(csv, sizeof(csv), "x,z,y\n1,2,3\n\n2,%s,4\n", cells[i]);
        refuse(csv, &plain, LINREG_REFUSE, "line 4: column 'z' is not one finite number");
        snprintf(csv, sizeof(csv), "x,z,y\n1,2,3\n\n2,1,%s\n", cells[i]);
        refuse(csv, &plain, LINREG_REFUSE, "line 4: column 'y' is not one finite number");
    }
}

static void too_many_levels_name_the_column(void **state)
{
    (void)state;
    char csv[8192] = "id,y\n", lonely[] = "c,y\na,1\na,2\na,3\n";
    size_t len = strlen(csv);
    for (int i = 0; i < 300; i++)
        len += (size_t)snprintf(csv + len, sizeof(csv) - len, "p%d,%d\n", i, i);
    refuse(csv, &plain, LINREG_REFUSE, "line 258: column 'id' has more than 256 levels");
    refuse(lonely, &plain, LINREG_REFUSE, "column 'c' has one level only");
}

/* ---- empty cells */

#define GAPS "x,c,y\n1,a,1\n,b,2\n2,,3\n9, ,4\n3,b,5\n4,b,7\n6,a,8\n"

static void an_empty_cell_is_refused_unless_the_option_says_otherwise(void **state)
{
    (void)state;
    refuse(GAPS, &plain, LINREG_REFUSE, "train.csv, line 3: column 'x' is empty");
    refuse("x,y\n1,2\n2,\n3,4\n", &plain, LINREG_MEAN,
           "line 3: column 'y' is not one finite number");
    refuse("x,z,y\n1,,2\n2,,3\n", &plain, LINREG_MEAN, "column 'z' is empty in all rows");
    refuse("x,z,y\n1,,2\n2,,3\n", &plain, LINREG_DROP, "has not one row that counts");
}

static void means_medians_and_the_commonest_level_fill_empty_cells(void **state)
{
    (void)state;
    double value;
    struct trained t;
    train(&t, GAPS, &plain, LINREG_MEAN);
    near(t.m.columns[0].fill, 25 / 6.0);
    assert_true(t.m.columns[1].fill == 1); /* b */
    assert_int_equal(t.m.fit.n, 7);
    assert_int_equal(linreg_read_cell(&t.m, 0, maas_text(""), &value), LINREG_CELL_OK);
    near(value, 25 / 6.0);
    assert_int_equal(linreg_read_cell(&t.m, 1, maas_text("  "), &value), LINREG_CELL_OK);
    assert_true(value == 1);
    close_csv(&t);
    train(&t, GAPS, &plain, LINREG_MEDIAN);
    near(t.m.columns[0].fill, 3.5);
    close_csv(&t);
    train(&t, GAPS, &plain, LINREG_DROP);
    assert_int_equal(t.m.fit.n, 4);
    assert_int_equal(linreg_read_cell(&t.m, 0, maas_text(""), &value), LINREG_CELL_EMPTY);
    close_csv(&t);
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Against sorting, of even and odd counts and of all sizes and signs. */
static void medians_are_exact(void **state)
{
    (void)state;
    enum { MOST = 101 };
    static char csv[1 << 14];
    double sorted[MOST];
    for (int n = MOST - 1; n <= MOST; n++) {
        size_t len = (size_t)snprintf(csv, sizeof(csv), "x,y\n,0\n");
        for (int i = 0; i < n; i++) {
            sorted[i] = sin(i * 7.0) * pow(10, i % 13 - 6) * (i % 10 ? 1 : 0);
            len += (size_t)snprintf(csv + len, sizeof(csv) - len, "%.17g,%d\n", sorted[i], i);
        }
        qsort(sorted, (size_t)n, sizeof(*sorted), by_size);
        struct trained t;
        train(&t, csv, &plain, LINREG_MEDIAN);
        assert_true(t.m.columns[0].fill == sorted[(n - 1) / 2] / 2 + sorted[n / 2] / 2);
        close_csv(&t);
    }
}

/* ---- weights, targets, features */

static void a_weight_of_zero_is_as_if_the_row_were_not_there(void **state)
{
    (void)state;
    struct data_options o = plain;
    o.weight = "w";
    struct trained t;
    train(&t, "x,y,w\n1,1,1\n2,99,0\n3,4,2\n5,5,1\n4,text,0\n", &o, LINREG_REFUSE);
    struct trained u;
    train(&u, "x,y,w\n1,1,1\n3,4,2\n5,5,1\n", &o, LINREG_REFUSE);
    assert_string_equal(t.m.target, "y");
    assert_int_equal(t.m.features, 1);
    assert_int_equal(t.m.fit.n, 3);
    assert_memory_equal(t.m.fit.beta, u.m.fit.beta, 2 * sizeof(double));
    near(t.m.fit.beta[1], 1);
    close_csv(&t);
    close_csv(&u);
}

static void wrong_weights_are_refused_with_their_line(void **state)
{
    (void)state;
    struct data_options o = plain;
    o.weight = "w";
    refuse("x,y,w\n1,1,1\n2,2,-0.5\n", &o, LINREG_REFUSE, "line 3: the weight 'w' is negative");
    refuse("x,y,w\n1,1,1\n2,2,\n", &o, LINREG_REFUSE, "line 3: column 'w' is not one finite");
    refuse("x,y,w\n1,1,0\n2,2,0\n", &o, LINREG_REFUSE, "not one row that counts");
    refuse("x,y\n1,1\n", &o, LINREG_REFUSE, "has no column 'w'");
    o.target = "w";
    refuse("x,y,w\n1,1,0\n2,2,0\n", &o, LINREG_REFUSE, "'w' is the target and the weight");
    o.target = "y";
    o.features = "x,w";
    refuse("x,y,w\n1,1,0\n2,2,0\n", &o, LINREG_REFUSE, "'w' is the weight, not a feature");
    o.features = "x,y";
    refuse("x,y,w\n1,1,0\n2,2,0\n", &o, LINREG_REFUSE, "'y' is the target, not a feature");
}

static void a_bad_table_names_line_and_column(void **state)
{
    (void)state;
    refuse("a,b\n1\n", &plain, LINREG_REFUSE, "train.csv, line 2: fewer than the 2 columns");
    refuse("a,b\n1,2\n1,2,3\n", &plain, LINREG_REFUSE, "line 3: more than the 2 columns");
    refuse("a,,b\n1,2,3\n", &plain, LINREG_REFUSE, "column 2 has a name of 0 bytes");
    refuse("a,b,\"a\"\n1,2,3\n", &plain, LINREG_REFUSE, "two columns are named 'a'");
    refuse("a\n1\n", &plain, LINREG_REFUSE, "no column beside the target");
    refuse("a,b\n", &plain, LINREG_REFUSE, "not one row");
    refuse("", &plain, LINREG_REFUSE, "train.csv is empty");
}

static void a_column_that_is_not_used_may_hold_anything(void **state)
{
    (void)state;
    struct data_options o = plain;
    o.features = "good";
    struct trained t;
    train(&t,
          "\xef\xbb\xbf\"id\",good,gap,y\r\np1,1e3,,1\r\n\r\n"
          "p2,-.5,nan,2\r\np3, 7 ,x,4\r\n",
          &o, LINREG_REFUSE);
    assert_int_equal(t.m.fit.n, 3);
    close_csv(&t);
}

static void the_test_rows_are_as_many_as_asked_for_and_hang_on_the_seed(void **state)
{
    (void)state;
    char csv[4096] = "x,y\n", drawn[3][101];
    size_t len = strlen(csv);
    const uint64_t seeds[] = { 7, 7, 8 };
    for (int i = 0; i < 100; i++)
        len += (size_t)snprintf(csv + len, sizeof(csv) - len, "%d,%d\n", i * i % 37, i);
    for (int s = 0; s < 4; s++) {
        struct data_options o = plain;
        struct data_row row;
        maas_error error = MAAS_ERROR_INIT;
        int tests = 0, late = 0;
        o.test_fraction = 0.25;
        o.seed = s < 3 ? &seeds[s] : NULL;
        struct trained t;
        train(&t, csv, &o, LINREG_REFUSE);
        assert_int_equal(t.m.fit.n, 75);
        assert_int_equal(data_rewind(t.d, &error), MAAS_OK);
        for (int i = 0; !data_next(t.d, &row, &error) && !row.end; i++) {
            tests += row.part == DATA_TEST;
            late += row.part == DATA_TEST && i >= 75;
            if (s < 3)
                drawn[s][i] = (char)row.part;
        }
        assert_int_equal(tests, 25);
        assert_true((late == 25) == (s == 3));
        close_csv(&t);
    }
    assert_memory_equal(drawn[0], drawn[1], 100);
    assert_memory_not_equal(drawn[0], drawn[2], 100);
}

/* ---- the model's file */

static void small(struct trained *out)
{
    train(out,
          "x,city,y\n1,Rome,13.5\n2,Oslo,0\n3,Athens,7\n4,Rome,19\n"
          "5,Athens,11\n6,Oslo,8\n,Oslo,9\n",
          &plain, LINREG_MEAN);
    out->m.unknown_is_reference = true;
    out->m.ridge = 0.25;
}

static size_t slurp(const char *name, char *out, size_t size)
{
    char path[256];
    path_of(name, path);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(out, 1, size, file);
    fclose(file);
    return len;
}

static void a_model_survives_its_file_to_the_bit(void **state)
{
    (void)state;
    struct trained t;
    small(&t);
    struct linreg back;
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(linreg_write(dir, &t.m, &error), MAAS_OK);
    assert_int_equal(linreg_read(dir, &back, &error), MAAS_OK);
    assert_memory_equal(t.m.fit.beta, back.fit.beta, 4 * sizeof(double));
    assert_memory_equal(t.m.fit.error, back.fit.error, 4 * sizeof(double));
    assert_memory_equal(t.m.fit.mean, back.fit.mean, 4 * sizeof(double));
    assert_memory_equal(t.m.fit.root, back.fit.root, 16 * sizeof(double));
    assert_true(back.fit.dof == t.m.fit.dof && back.fit.sigma2 == t.m.fit.sigma2);
    assert_true(back.fit.r2 == t.m.fit.r2 && back.fit.f == t.m.fit.f && back.fit.n == 7);
    assert_true(back.unknown_is_reference && back.intercept && back.ridge == 0.25);
    assert_int_equal(back.missing, LINREG_MEAN);
    assert_string_equal(back.columns[1].levels[2], "Rome");
    assert_true(back.columns[0].fill == t.m.columns[0].fill && back.columns[1].fill == 1);
    linreg_release(&back);
    close_csv(&t);
    remove_file("linreg.model");
}

static void a_model_is_refused_wherever_it_is_cut_or_changed(void **state)
{
    (void)state;
    struct trained t;
    small(&t);
    struct linreg back;
    static char bytes[8192];
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(linreg_write(dir, &t.m, &error), MAAS_OK);
    close_csv(&t);
    size_t len = slurp("linreg.model", bytes, sizeof(bytes));
    assert_true(len > 300 && len < sizeof(bytes));
    const uint8_t *from = (const uint8_t *)bytes;
    for (size_t cut = 0; cut < len; cut++)
        assert_int_equal(linreg_parse(from, cut, &back, &error), MAAS_E_DATA_LOSS);
    assert_int_equal(linreg_parse(from, len + 1, &back, &error), MAAS_E_DATA_LOSS);
    for (size_t at = 0; at < len; at++)
        for (int bit = 0; bit < 8; bit++) {
            bytes[at] ^= (char)(1 << bit);
            assert_int_equal(linreg_parse(from, len, &back, &error), MAAS_E_DATA_LOSS);
            bytes[at] ^= (char)(1 << bit);
        }
    write_file("linreg.model", bytes, 100);
    assert_int_equal(linreg_read(dir, &back, &error), MAAS_E_DATA_LOSS);
    remove_file("linreg.model");
}

/* With a checksum that fits, whatever is read is bounded. */
static void a_changed_model_with_its_checksum_is_harmless(void **state)
{
    (void)state;
    struct trained t;
    small(&t);
    struct linreg back;
    static char bytes[8192];
    maas_error error = MAAS_ERROR_INIT;
    assert_int_equal(linreg_write(dir, &t.m, &error), MAAS_OK);
    close_csv(&t);
    size_t len = slurp("linreg.model", bytes, sizeof(bytes));
    for (size_t at = 0; at + 8 < len; at++)
        for (int other = 0; other < 4; other++) {
            char held = bytes[at];
            bytes[at] = (char)(other == 0 ? 0 : other == 1 ? 0xff : held + other - 4);
            uint64_t sum = checksum_of((const uint8_t *)bytes, len - 8);
            memcpy(bytes + len - 8, &sum, sizeof(sum));
            if (!linreg_parse((const uint8_t *)bytes, len, &back, &error)) {
                assert_true(back.fit.p == linreg_terms(&back) && isfinite(back.fit.beta[0]));
                linreg_release(&back);
            }
            bytes[at] = held;
        }
    remove_file("linreg.model");
}

/* ---- files of version 1 */

/* Written by the first version from x = 0 1 2 3 5, y = 1 3.1 4.9 7.2 10.9. */
static const char old_model[] =
    "linreg 1\ntarget the target\nfeatures 1 1 1\nname x 1\nrows 5\nsigma2 0x1.6182b8b062e49p-6\n"
    "r2 0x1.ff6eb119db615p-1\ncoefficient 0x1.0d7deca084d7ep+0 0x1.b4c8f22ce957dp-4\ncoefficient "
    "0x1.fc31d0f38bc32p+0 0x1.38c9c738076e3p-5\n"
    "root -0x1.c9f25c5bfedd9p-2\nroot 0x0p+0\nroot -0x1.24cb3268c141cp-1\nroot "
    "0x1.0a2d168dc6f61p-2\nend\n";

static void a_model_of_version_1_is_read_and_predicts_as_before(void **state)
{
    (void)state;
    static const double row[] = { 1, 4 };
    static const double x[] = { 1, 0, 1, 1, 1, 2, 1, 3, 1, 5 }, y[] = { 1, 3.1, 4.9, 7.2, 10.9 };
    struct array rows = { .x = x, .y = y, .n = 5, .p = 2 };
    struct linreg old, now = { 0 };
    double leverage, then;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    write_file("model.txt", old_model, sizeof(old_model) - 1);
    if (linreg_read(dir, &old, &error))
        fail_msg("%s", error.text);
    assert_int_equal(fit_array(&rows, true, 0, &now.fit, &dependent, &error), MAAS_OK);
    assert_string_equal(old.target, "the target");
    assert_string_equal(old.columns[0].name, "x 1");
    assert_true(!linreg_takes_text(&old) && old.fit.dof == 3);
    near(linreg_predict(&old, row, &then), linreg_predict(&now, row, &leverage));
    near(then, leverage);
    near(old.fit.error[1], now.fit.error[1]);
    linreg_release(&old);
    linreg_release(&now);
    remove_file("model.txt");
}

static void a_model_of_version_1_is_refused_wherever_it_is_cut(void **state)
{
    (void)state;
    struct linreg back;
    maas_error error = MAAS_ERROR_INIT;
    static const char others[] = "0-9nx \n\xff";
    char text[sizeof(old_model)];
    memcpy(text, old_model, sizeof(text));
    for (size_t cut = 0; cut + 2 < sizeof(old_model); cut++) { /* its last newline is not needed */
        write_file("model.txt", old_model, cut);
        assert_int_not_equal(linreg_read(dir, &back, &error), MAAS_OK);
    }
    for (size_t at = 0; at + 1 < sizeof(text); at++)
        for (size_t o = 0; o < sizeof(others); o++) { /* its NUL too */
            text[at] = others[o];
            write_file("model.txt", text, sizeof(text) - 1);
            text[at] = old_model[at];
            if (linreg_read(dir, &back, &error))
                continue;
            assert_true(back.fit.p <= LINREG_TERMS_MAX + 1 && back.fit.n > back.fit.p);
            assert_true(isfinite(back.fit.beta[0]) && back.fit.sigma2 >= 0);
            linreg_release(&back);
        }
    remove_file("model.txt");
}

static void impossible_counts_of_version_1_are_refused(void **state)
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
    remove_file("model.txt");
}

/* ---- what a model says of itself */

static void contributions_and_base_sum_up_to_the_prediction(void **state)
{
    (void)state;
    struct trained t;
    train(&t, CITIES, &plain, LINREG_REFUSE);
    const double values[] = { 4, 2 };
    double row[4], parts[2];
    linreg_expand(&t.m, values, row);
    linreg_contributions(&t.m, row, parts);
    near(parts[0], 2 * (4 - 3.5));
    near(parts[1], 10 - 5.0 / 3); /* Rome beside the mean of all cities */
    near(linreg_base(&t.m) + parts[0] + parts[1], linreg_predict(&t.m, row, NULL));
    near(linreg_base(&t.m), 58 / 6.0); /* the mean of y */
    close_csv(&t);
}

static void an_unknown_level_is_refused_or_the_reference(void **state)
{
    (void)state;
    double value, row[4];
    struct trained t;
    train(&t, CITIES, &plain, LINREG_REFUSE);
    maas_error error = MAAS_ERROR_INIT;
    enum linreg_cell is = linreg_read_cell(&t.m, 1, maas_text("Paris"), &value);
    assert_int_equal(is, LINREG_CELL_UNKNOWN);
    linreg_cell_refused(&t.m, 1, maas_text("Paris"), is, "row 3", &error);
    assert_string_equal(error.text, "row 3: feature 'city' has no level 'Paris'");
    assert_int_equal(linreg_read_cell(&t.m, 1, maas_text("Rom"), &value), LINREG_CELL_UNKNOWN);
    t.m.unknown_is_reference = true;
    assert_int_equal(linreg_read_cell(&t.m, 1, maas_text("Paris"), &value), LINREG_CELL_OK);
    linreg_expand(&t.m, (const double[]){ 3, value }, row);
    near(linreg_predict(&t.m, row, NULL), 7); /* as Athens */
    close_csv(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(categories_are_one_hot_with_the_first_as_reference),
        cmocka_unit_test(numbers_are_categories_when_they_are_listed),
        cmocka_unit_test(texts_among_numbers_are_refused_with_their_line),
        cmocka_unit_test(what_is_not_finite_is_refused_with_line_and_column),
        cmocka_unit_test(too_many_levels_name_the_column),
        cmocka_unit_test(an_empty_cell_is_refused_unless_the_option_says_otherwise),
        cmocka_unit_test(means_medians_and_the_commonest_level_fill_empty_cells),
        cmocka_unit_test(medians_are_exact),
        cmocka_unit_test(a_weight_of_zero_is_as_if_the_row_were_not_there),
        cmocka_unit_test(wrong_weights_are_refused_with_their_line),
        cmocka_unit_test(a_bad_table_names_line_and_column),
        cmocka_unit_test(a_column_that_is_not_used_may_hold_anything),
        cmocka_unit_test(the_test_rows_are_as_many_as_asked_for_and_hang_on_the_seed),
        cmocka_unit_test(a_model_survives_its_file_to_the_bit),
        cmocka_unit_test(a_model_is_refused_wherever_it_is_cut_or_changed),
        cmocka_unit_test(a_changed_model_with_its_checksum_is_harmless),
        cmocka_unit_test(a_model_of_version_1_is_read_and_predicts_as_before),
        cmocka_unit_test(a_model_of_version_1_is_refused_wherever_it_is_cut),
        cmocka_unit_test(impossible_counts_of_version_1_are_refused),
        cmocka_unit_test(contributions_and_base_sum_up_to_the_prediction),
        cmocka_unit_test(an_unknown_level_is_refused_or_the_reference),
    };
    if (!mkdtemp(dir))
        return 1;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    remove_file("train.csv");
    rmdir(dir);
    return failed;
}
