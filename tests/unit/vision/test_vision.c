/*
 * test_vision.c: both networks' gradients against finite differences, the answer against what
 * training computes, readers of data, and a model file that is damaged in every place.
 */
#include "vision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dice.h"
#include "image/image.h"

enum { ROWS = 3, WIDTH = 9, HEIGHT = 8, CLASSES = 3, SIZE = WIDTH * HEIGHT };
static struct dice dice = { 5 };
static char folder[] = "/tmp/test_vision.XXXXXX";

static struct vision_net net_of(uint32_t kind)
{
    const struct vision_shape shape = { kind, WIDTH, HEIGHT, { 3, 4 }, 6, CLASSES };
    struct vision_net net;
    assert_true(vision_net_init(&net, &shape));
    return net;
}

static float *drawn(size_t count)
{
    float *v = malloc(count * sizeof(*v));
    assert_non_null(v);
    for (size_t i = 0; i < count; i++)
        v[i] = (float)((double)(dice_roll(&dice) >> 11) * 0x1p-53);
    return v;
}

static float *weights_of(const struct vision_net *net)
{
    float *w = malloc(net->count * sizeof(*w));
    uint64_t random = 4;
    assert_non_null(w);
    vision_net_draw(net, w, &random);
    for (uint32_t i = 0; i < net->layers; i++) /* biases that matter */
        for (size_t k = 0; k < net->out[i]; k++)
            w[net->biases_at[i] + k] = 0.05f * (float)(k % 3);
    return w;
}

static const uint32_t truth[ROWS] = { 2, 0, 1 };

static double loss_of(struct vision_tape *t, float *spare, const float *w, const float *x,
                      float dropout)
{
    uint64_t random = 9;
    return vision_gradient(t, spare, w, x, truth, ROWS, 1, dropout, &random);
}

static void networks_have_the_gradients_of_their_loss(void **state)
{
    (void)state;
    for (uint32_t kind = VISION_CNN; kind <= VISION_MLP; kind++) {
        const struct vision_net net = net_of(kind);
        float *w = weights_of(&net), *x = drawn(ROWS * SIZE);
        float *gradient = calloc(net.count, sizeof(float)), *spare = drawn(net.count);
        struct vision_tape *t = NULL;
        maas_error error = MAAS_ERROR_INIT;
        double largest = 0;
        size_t corners = 0;
        assert_int_equal(vision_tape_new(&net, ROWS, &t, &error), MAAS_OK);
        (void)loss_of(t, gradient, w, x, 0.3f);
        for (size_t i = 0; i < net.count; i++)
            largest = fmax(largest, fabs((double)gradient[i]));
        for (size_t i = 0; i < net.count; i++) {
            const float held = w[i];
            const float up = held + 0x1p-10f, down = held - 0x1p-10f;
            w[i] = up;
            const double more = loss_of(t, spare, w, x, 0.3f);
            w[i] = down;
            const double slope =
                (more - loss_of(t, spare, w, x, 0.3f)) / ((double)up - (double)down);
            w[i] = held;
            corners += fabs(slope - gradient[i]) > 1e-3 * largest;
        }
        /* a step may cross the corner of a relu or change a maximum: a few may, not more */
        if (corners * 50 > net.count)
            fail_msg("%zu of %zu weights have another slope", corners, net.count);
        vision_tape_free(t);
        free(w);
        free(x);
        free(gradient);
        free(spare);
    }
}

static void an_answer_is_what_training_computes(void **state)
{
    (void)state;
    for (uint32_t kind = VISION_CNN; kind <= VISION_MLP; kind++) {
        const struct vision_net net = net_of(kind);
        float *w = weights_of(&net), *x = drawn(ROWS * SIZE), *space = drawn(net.floats);
        float *spare = calloc(net.count, sizeof(float)), scores[CLASSES];
        struct vision_tape *t = NULL;
        struct vision_packed packed;
        maas_error error = MAAS_ERROR_INIT;
        double loss = 0;
        assert_int_equal(vision_tape_new(&net, ROWS, &t, &error), MAAS_OK);
        assert_int_equal(vision_pack(&net, w, &packed, &error), MAAS_OK);
        for (size_t i = 0; i < ROWS; i++) {
            vision_scores(scores, space, x + i * SIZE, &net, &packed);
            loss -= log(scores[truth[i]]);
        }
        assert_true(fabs(loss - loss_of(t, spare, w, x, 0)) < 1e-4);
        vision_pack_release(&packed);
        vision_tape_free(t);
        free(w);
        free(x);
        free(space);
        free(spare);
    }
}

static void shapes_out_of_range_are_refused(void **state)
{
    (void)state;
    const struct vision_shape good = { VISION_CNN, 28, 28, { 32, 64 }, 128, 10 };
    struct vision_net net;
    assert_true(vision_net_init(&net, &good));
    for (size_t i = 0; i < sizeof(good) / sizeof(uint32_t); i++)
        for (int k = 0; k < 2; k++) {
            struct vision_shape s = good;
            const uint32_t bad = k ? UINT32_MAX : 0;
            memcpy((char *)&s + i * sizeof(bad), &bad, sizeof(bad));
            assert_false(vision_net_init(&net, &s));
        }
}

/* ---- the model file */

static void write_bytes(const char *name, const void *data, size_t len)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, len, file), len);
    assert_int_equal(fclose(file), 0);
}

static size_t read_bytes(const char *name, char *out, size_t room)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t len = fread(out, 1, room, file);
    fclose(file);
    return len;
}

static maas_status read_model(void)
{
    struct vision_model m;
    maas_error error = MAAS_ERROR_INIT;
    maas_status status = vision_read(folder, &m, &error);
    if (status)
        assert_true(error.text[0] != 0);
    else
        vision_release(&m);
    return status;
}

static void a_file_that_is_cut_or_changed_is_refused_or_harmless(void **state)
{
    (void)state;
    struct vision_model m = { .net = net_of(VISION_CNN) };
    char labels[CLASSES][VISION_LABEL_MAX] = { "a", "b", "c" }, bytes[8192];
    maas_error error = MAAS_ERROR_INIT;
    m.labels = labels;
    m.weights = weights_of(&m.net);
    assert_int_equal(vision_write(folder, &m, &error), MAAS_OK);
    assert_int_equal(read_model(), MAAS_OK);
    const size_t len = read_bytes("vision.model", bytes, sizeof(bytes));
    assert_true(len > 300 && len < sizeof(bytes));
    for (size_t cut = 0; cut < len; cut++) {
        write_bytes("vision.model", bytes, cut);
        assert_int_equal(read_model(), MAAS_E_DATA_LOSS);
    }
    for (int round = 0; round < 2000; round++) {
        char other[sizeof(bytes)];
        memcpy(other, bytes, len);
        other[dice_roll(&dice) % (round % 2 ? 40 : len)] = (char)dice_roll(&dice);
        write_bytes("vision.model", other, len);
        (void)read_model();
    }
    const uint32_t nan = 0x7fc00000;
    memcpy(bytes + len - 4, &nan, 4);
    write_bytes("vision.model", bytes, len);
    assert_int_equal(read_model(), MAAS_E_DATA_LOSS);
    free(m.weights);
}

/* ---- data */

static int32_t never(const maas_host *host, const maas_request *job)
{
    (void)host;
    (void)job;
    return 0;
}
static const maas_host host = { .size = sizeof(maas_host), .abi = MAAS_ABI, .cancelled = never };

static maas_status read_data(const char *part, struct vision_data *d, maas_error *error)
{
    const struct vision_reading how = { folder, part, 0, 0, 16 };
    return vision_data_read(&how, d, &host, NULL, error);
}

static int32_t always(const maas_host *asked, const maas_request *job)
{
    (void)asked;
    (void)job;
    return 1;
}

static void idx_files_are_read_with_their_names(void **state)
{
    (void)state;
    uint8_t images[16 + 2 * 64] = { 0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0, 0, 8 };
    const uint8_t labels[] = { 0, 0, 8, 1, 0, 0, 0, 2, 1, 0 };
    struct vision_data d;
    maas_error error = MAAS_ERROR_INIT;
    images[16 + 64] = 77;
    write_bytes("t10k-images-idx3-ubyte", images, sizeof(images));
    write_bytes("t10k-labels-idx1-ubyte", labels, sizeof(labels));
    write_bytes("labels.txt", "shirt\nshoe\n", 11);
    assert_int_equal(read_data("test", &d, &error), MAAS_OK);
    assert_true(d.rows == 2 && d.classes == 2 && d.width == 8 && d.height == 8);
    assert_true(d.truth[0] == 1 && d.truth[1] == 0 && d.pixels[64] == 77);
    assert_string_equal(d.labels[1], "shoe");
    vision_data_release(&d);
    const struct vision_reading how = { folder, "test", 0, 0, 16 };
    maas_host hasty = host;
    hasty.cancelled = always;
    assert_int_equal(vision_data_read(&how, &d, &hasty, NULL, &error), MAAS_E_CANCELLED);
    for (size_t cut = 0; cut < sizeof(images); cut++) {
        write_bytes("t10k-images-idx3-ubyte", images, cut);
        assert_int_equal(read_data("test", &d, &error), MAAS_E_INVALID);
    }
    images[4] = 0xff; /* four thousand million pictures */
    write_bytes("t10k-images-idx3-ubyte", images, sizeof(images));
    assert_int_equal(read_data("test", &d, &error), MAAS_E_INVALID);
}

static void csv_rows_are_pictures(void **state)
{
    (void)state;
    char text[2000];
    size_t len = 0;
    struct vision_data d;
    maas_error error = MAAS_ERROR_INIT;
    for (int row = -1; row < 2; row++) {
        for (int c = 0; c < 64; c++)
            len += (size_t)snprintf(text + len, sizeof(text) - len, row < 0 ? "p%d," : "%d,",
                                    row < 0  ? c
                                    : c == 5 ? 16
                                             : row);
        len += (size_t)snprintf(text + len, sizeof(text) - len, "%s\n",
                                row < 0 ? "label"
                                : row   ? "ant"
                                        : "bee");
    }
    write_bytes("train.csv", text, len);
    assert_int_equal(read_data("train", &d, &error), MAAS_OK);
    assert_true(d.rows == 2 && d.width == 8 && d.truth[0] == 1 && d.truth[1] == 0);
    assert_true(d.pixels[5] == 255 && d.pixels[64] == 16 && d.pixels[0] == 0);
    assert_string_equal(d.labels[0], "ant");
    vision_data_release(&d);
    memcpy(strstr(text, ",16,"), ",17", 3);
    write_bytes("train.csv", text, len);
    assert_int_equal(read_data("train", &d, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "line 2: column 'p5'"));
}

static void folders_are_labels(void **state)
{
    (void)state;
    uint8_t pixels[8 * 8 * 3], png[4096];
    size_t len;
    char path[256];
    struct vision_data d;
    maas_error error = MAAS_ERROR_INIT;
    static const char *const labels[] = { "dark", "bright" };
    snprintf(path, sizeof(path), "%s/train.csv", folder);
    unlink(path);
    assert_int_equal(read_data("train", &d, &error), MAAS_E_NOT_FOUND);
    snprintf(path, sizeof(path), "%s/images", folder);
    assert_int_equal(mkdir(path, 0700), 0);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/images/%s", folder, labels[i]);
        assert_int_equal(mkdir(path, 0700), 0);
        memset(pixels, i ? 250 : 5, sizeof(pixels));
        assert_int_equal(image_png_write(png, sizeof(png), &len, pixels, 8, 8, &error), MAAS_OK);
        snprintf(path, sizeof(path), "images/%s/one.png", labels[i]);
        write_bytes(path, png, len);
    }
    assert_int_equal(read_data("train", &d, &error), MAAS_OK);
    assert_true(d.rows == 2 && d.width == 28 && d.height == 28 && d.classes == 2);
    for (uint32_t i = 0; i < 2; i++) {
        const bool dark = strcmp(d.labels[d.truth[i]], "dark") == 0;
        assert_int_equal(d.pixels[i * 28 * 28 + 400], dark ? 5 : 250);
    }
    vision_data_release(&d);
    write_bytes("images/dark/one.png", png, 20);
    assert_int_equal(read_data("train", &d, &error), MAAS_E_INVALID);
    assert_non_null(strstr(error.text, "images/dark/one.png: "));
}

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = { "vision.model",
                                         "t10k-images-idx3-ubyte",
                                         "t10k-labels-idx1-ubyte",
                                         "labels.txt",
                                         "train.csv",
                                         "images/dark/one.png",
                                         "images/bright/one.png",
                                         "images/dark",
                                         "images/bright",
                                         "images" };
    char path[256];
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
        snprintf(path, sizeof(path), "%s/%s", folder, names[i]);
        remove(path);
    }
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_have_the_gradients_of_their_loss),
        cmocka_unit_test(an_answer_is_what_training_computes),
        cmocka_unit_test(shapes_out_of_range_are_refused),
        cmocka_unit_test(a_file_that_is_cut_or_changed_is_refused_or_harmless),
        cmocka_unit_test(idx_files_are_read_with_their_names),
        cmocka_unit_test(csv_rows_are_pictures),
        cmocka_unit_test(folders_are_labels),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
