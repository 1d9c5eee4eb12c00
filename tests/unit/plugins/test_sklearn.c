/*
 * Linear regression against scikit-learn, run live: Debian's python3 fits its diabetes data (scaled
 * and raw) and prints data and coefficients to 17 digits; ours must agree to 1e-9. Without
 * scikit-learn it is skipped and says so, unless MAAS_TEST_DATA promises a full machine.
 */
#include "linreg_rows.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#define PYTHON "OPENBLAS_NUM_THREADS=1 /usr/bin/python3 -c \""
#define SCRIPT                                                                                     \
    "import numpy as np\n"                                                                         \
    "from sklearn.datasets import load_diabetes\n"                                                 \
    "from sklearn.linear_model import LinearRegression\n"                                          \
    "x, y = load_diabetes(return_X_y=True, scaled=%s)\n"                                           \
    "m = LinearRegression().fit(x, y)\n"                                                           \
    "print(*x.shape)\n"                                                                            \
    "print(*[repr(float(v)) for v in [m.intercept_, *m.coef_, m.score(x, y)]])\n"                  \
    "for r, t in zip(x, y): print(1, *[repr(float(v)) for v in [*r, t]])\n"                        \
    "\" > %s"

enum { ROWS = 442, TERMS = 11 };

static char output[] = "/tmp/maas-sklearn-XXXXXX";

static bool has_sklearn(void)
{
    return system("/usr/bin/python3 -c 'import sklearn' 2>/dev/null") == 0;
}

static double next(FILE *from)
{
    double value;
    assert_int_equal(fscanf(from, "%lf", &value), 1);
    return value;
}

static void agrees_with_sklearn(const char *scaled)
{
    static double x[ROWS * TERMS], y[ROWS];
    char command[2048];
    double theirs[TERMS + 1];
    struct fit fit;
    uint32_t dependent;
    maas_error error = MAAS_ERROR_INIT;
    if (!has_sklearn()) {
        assert_null(getenv("MAAS_TEST_DATA"));
        print_message("skipped: /usr/bin/python3 has no scikit-learn\n");
        skip();
    }
    snprintf(command, sizeof(command), PYTHON SCRIPT, scaled, output);
    assert_int_equal(system(command), 0);
    FILE *python = fopen(output, "r");
    assert_non_null(python);
    assert_true(next(python) == ROWS && next(python) == TERMS - 1);
    for (size_t j = 0; j <= TERMS; j++)
        theirs[j] = next(python);
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < TERMS; j++)
            x[i * TERMS + j] = next(python);
        y[i] = next(python);
    }
    fclose(python);
    struct array rows = { .x = x, .y = y, .n = ROWS, .p = TERMS };
    if (fit_array(&rows, true, 0, &fit, &dependent, &error))
        fail_msg("%s", error.text);
    double worst = fabs(fit.r2 - theirs[TERMS]);
    for (size_t j = 0; j < TERMS; j++)
        worst = fmax(worst, fabs(fit.beta[j] - theirs[j]) / fmax(1, fabs(theirs[j])));
    print_message("scaled=%s: largest difference %.1e\n", scaled, worst);
    fit_release(&fit);
    assert_true(worst < 1e-9);
}

static void scaled_diabetes_gives_sklearns_coefficients(void **state)
{
    (void)state;
    agrees_with_sklearn("True");
}

static void raw_diabetes_gives_sklearns_coefficients(void **state)
{
    (void)state;
    agrees_with_sklearn("False");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scaled_diabetes_gives_sklearns_coefficients),
        cmocka_unit_test(raw_diabetes_gives_sklearns_coefficients),
    };
    int fd = mkstemp(output);
    if (fd < 0)
        return 1;
    close(fd);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    unlink(output);
    return failed;
}
