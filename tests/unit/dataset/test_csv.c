/*
 * test_csv.c: rows, quotes, bounds and errors of the reader of comma-separated values.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <stdlib.h>
#include <unistd.h>

#include "dataset/csv.h"
#include "dataset/random.h"

static char dir[] = "/tmp/test_csv.XXXXXX";

static void write_file(const char *text, size_t len)
{
    char path[64];
    snprintf(path, sizeof(path), "%s/t.csv", dir);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static struct csv *open_text(const char *text)
{
    struct csv *csv = NULL;
    maas_error error = MAAS_ERROR_INIT;
    write_file(text, strlen(text));
    assert_int_equal(csv_open(dir, "t.csv", &csv, &error), MAAS_OK);
    return csv;
}

static void assert_cell(maas_str cell, const char *text)
{
    assert_int_equal(cell.len, strlen(text));
    assert_memory_equal(cell.data, text, cell.len);
}

static void quotes_hold_commas_lines_and_quotes(void **state)
{
    (void)state;
    const maas_str *cells;
    maas_error error = MAAS_ERROR_INIT;
    struct csv *csv = open_text("\xef\xbb\xbf"
                                "a,\"b,\"\"c\"\r\n1,\"x\n,\"\"y\"\"\"\r\n\r\n,\"\"\n7,last");
    assert_int_equal(csv_columns(csv), 2);
    assert_cell(csv_name(csv, 0), "a");
    assert_cell(csv_name(csv, 1), "b,\"c");
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_OK);
    assert_cell(cells[0], "1");
    assert_cell(cells[1], "x\n,\"y\"");
    assert_int_equal(csv_line(csv), 2);
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_OK);
    assert_cell(cells[0], "");
    assert_cell(cells[1], "");
    assert_int_equal(csv_line(csv), 5);
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_OK);
    assert_cell(cells[1], "last");
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_OK);
    assert_null(cells);
    assert_int_equal(csv_rewind(csv, &error), MAAS_OK);
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_OK);
    assert_cell(cells[0], "1");
    assert_int_equal(csv_line(csv), 2);
    csv_close(csv);
}

static void refuse_open(const char *text, const char *word)
{
    struct csv *csv = NULL;
    maas_error error = MAAS_ERROR_INIT;
    write_file(text, strlen(text));
    assert_int_equal(csv_open(dir, "t.csv", &csv, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, word));
    assert_null(csv);
}

static void a_wrong_first_row_is_refused(void **state)
{
    (void)state;
    struct csv *csv = NULL;
    maas_error error = MAAS_ERROR_INIT;
    refuse_open("", "empty");
    refuse_open("a,a\n", "two columns are named 'a'");
    refuse_open("a,,b\n", "column 2 has a name of 0 bytes");
    refuse_open("a,\"b\n", "a quote does not end");
    assert_int_equal(csv_open(dir, "none.csv", &csv, &error), MAAS_E_NOT_FOUND);
}

static void refuse_row(const char *text, size_t len, const char *word)
{
    struct csv *csv = NULL;
    const maas_str *cells;
    maas_error error = MAAS_ERROR_INIT;
    write_file(text, len);
    assert_int_equal(csv_open(dir, "t.csv", &csv, &error), MAAS_OK);
    assert_int_equal(csv_next(csv, &cells, &error), MAAS_E_INVALID);
    assert_null(cells);
    assert_non_null(strstr(error.text, word));
    csv_close(csv);
}

static void a_wrong_row_is_refused_with_its_line(void **state)
{
    (void)state;
    refuse_row("a,b\n\n1\n", 7, "line 3: fewer than the 2 columns");
    refuse_row("a,b\n1,2,3\n", 10, "line 2: more than the 2 columns");
    refuse_row("a,b\n\"1\"x,2\n", 11, "line 2: column 1: text behind a closing quote");
    refuse_row("a,b\n\"1,2\n", 9, "line 2: a quote does not end");
    refuse_row("a,b\n1,\0\n", 8, "NUL");
    refuse_row("a,b\n\0001,2\n", 9, "NUL");
}

static void a_row_has_a_bound(void **state)
{
    (void)state;
    size_t len = CSV_ROW_MAX_BYTES + 16;
    char *text = malloc(len);
    assert_non_null(text);
    memset(text, 'x', len);
    memcpy(text, "a\n", 2);
    refuse_row(text, len, "longer than");
    free(text);
}

static void numbers_are_finite_and_alone(void **state)
{
    (void)state;
    double value = 0;
    assert_true(csv_number(maas_text(" -1.5e3 "), &value));
    assert_true(value == -1500);
    static const char *const wrong[] = { "", " ", "1x", "nan", "inf", "1e999", "1 2", "--1" };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++)
        assert_false(csv_number(maas_text(wrong[i]), &value));
}

/* Short numbers have a way of their own: it must be strtod's to the bit. */
static void numbers_are_rounded_as_strtod_rounds(void **state)
{
    (void)state;
    uint64_t random = 3;
    static const char *const some[] = { "-0",
                                        "0.000000000000000001",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "9007199254740993.5",
                                        "1.7976931348623157e308",
                                        "5e-324",
                                        "18446744073709551616",
                                        ".5",
                                        "5.",
                                        "0.1",
                                        "+1" };
    for (size_t i = 0; i < 200000; i++) {
        char text[64];
        double value, wanted;
        if (i < sizeof(some) / sizeof(*some))
            snprintf(text, sizeof(text), "%s", some[i]);
        else
            snprintf(text, sizeof(text), "%.*f", (int)random_below(&random, 20),
                     (random_real(&random) - 0.5) * pow(10, (double)random_below(&random, 18)));
        wanted = strtod(text, NULL);
        assert_true(csv_number(maas_text(text), &value));
        assert_memory_equal(&value, &wanted, sizeof(value));
    }
    assert_false(csv_number(maas_text("."), &(double){ 0 }));
    assert_false(csv_number(maas_text("-"), &(double){ 0 }));
    assert_false(csv_number(maas_text("1.2.3"), &(double){ 0 }));
}

static void a_seed_is_the_same_sequence_everywhere(void **state)
{
    (void)state;
    uint64_t seed = 0, other = 7, counts[6] = { 0 };
    uint32_t order[6] = { 0, 1, 2, 3, 4, 5 };
    assert_true(random_next(&seed) ==
                0xe220a8397b1dcdafu); /* the published first output of seed 0 */
    for (int i = 0; i < 60000; i++)
        counts[random_below(&other, 6)]++;
    for (int i = 0; i < 6; i++)
        assert_in_range(counts[i], 9600, 10400);
    random_shuffle(&other, order, 6);
    unsigned seen = 0;
    for (int i = 0; i < 6; i++)
        seen |= 1u << order[i];
    assert_int_equal(seen, 63);
}

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    char path[64];
    snprintf(path, sizeof(path), "%s/t.csv", dir);
    unlink(path);
    return rmdir(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quotes_hold_commas_lines_and_quotes),
        cmocka_unit_test(a_wrong_first_row_is_refused),
        cmocka_unit_test(a_wrong_row_is_refused_with_its_line),
        cmocka_unit_test(a_row_has_a_bound),
        cmocka_unit_test(numbers_are_finite_and_alone),
        cmocka_unit_test(numbers_are_rounded_as_strtod_rounds),
        cmocka_unit_test(a_seed_is_the_same_sequence_everywhere),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
