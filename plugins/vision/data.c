/*
 * data.c: pictures with labels: IDX files (LeCun's format: big-endian head, then bytes), rows of
 * comma-separated values, or a folder of pictures for each label. All become bytes of one channel.
 * Counts and sizes are bounded before memory is taken; a number that is not what it should be is
 * told with its file and line.
 */
#include "vision.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>
#include <zlib.h>

#include "dataset/csv.h"
#include "pictures.h"

enum { ROWS_MAX = 4000000, NAME = 4096, LOOK_ROWS = 64 };
#define PIXELS_MAX ((uint64_t)1 << 32)

void vision_data_release(struct vision_data *d)
{
    free(d->pixels);
    free(d->truth);
    free(d->labels);
    memset(d, 0, sizeof(*d));
}

static size_t size_of(const struct vision_data *d)
{
    return (size_t)d->width * d->height;
}

static maas_status check_size(const struct vision_data *d, maas_error *error)
{
    if (d->width < VISION_SIDE_MIN || d->width > VISION_SIDE_MAX || d->height < VISION_SIDE_MIN ||
        d->height > VISION_SIDE_MAX)
        return maas_fail(error, MAAS_E_INVALID, "pictures are %u by %u; a side may have %d to %d",
                         d->width, d->height, VISION_SIDE_MIN, VISION_SIDE_MAX);
    return MAAS_OK;
}

/* Room for one more row; `*room` doubles. */
static maas_status grow(struct vision_data *d, uint32_t *room, maas_error *error)
{
    if (d->rows < *room)
        return MAAS_OK;
    const uint32_t wanted = *room ? *room * 2 : 1024;
    if (wanted > ROWS_MAX || wanted * (uint64_t)size_of(d) > PIXELS_MAX)
        return maas_fail(error, MAAS_E_INVALID, "the data has more than %u pictures", *room);
    uint8_t *pixels = realloc(d->pixels, wanted * size_of(d));
    if (pixels)
        d->pixels = pixels;
    uint32_t *truth = realloc(d->truth, wanted * sizeof(*truth));
    if (truth)
        d->truth = truth;
    *room = pixels && truth ? wanted : *room;
    return pixels && truth
               ? MAAS_OK
               : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for %u pictures", wanted);
}

/* Is the job still wanted? Looked at every LOOK_ROWS pictures. */
static maas_status look(const maas_host *host, const maas_request *job, uint32_t row,
                        maas_error *error)
{
    return row % LOOK_ROWS == 0 && host->cancelled(host, job)
               ? maas_fail(error, MAAS_E_CANCELLED, "cancelled while reading")
               : MAAS_OK;
}

/* ---- labels */

static maas_status label_index(struct vision_data *d, maas_str name, uint32_t *out,
                               maas_error *error)
{
    if (name.len == 0 || name.len >= VISION_LABEL_MAX || memchr(name.data, 0, name.len))
        return maas_fail(error, MAAS_E_INVALID, "a label is empty or longer than %d bytes",
                         VISION_LABEL_MAX - 1);
    for (uint32_t i = 0; i < d->classes; i++)
        if (strlen(d->labels[i]) == name.len && memcmp(d->labels[i], name.data, name.len) == 0) {
            *out = i;
            return MAAS_OK;
        }
    if (d->classes == VISION_CLASSES_MAX)
        return maas_fail(error, MAAS_E_INVALID, "there are more than %d labels",
                         VISION_CLASSES_MAX);
    memcpy(d->labels[d->classes], name.data, name.len);
    *out = d->classes++;
    return MAAS_OK;
}

static maas_status take_labels(struct vision_data *d, maas_error *error)
{
    d->labels = calloc(VISION_CLASSES_MAX, sizeof(*d->labels));
    return d->labels ? MAAS_OK : maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the labels");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(a, b);
}

/* Sorted, so that the order of the rows does not name the classes. */
static maas_status sort_labels(struct vision_data *d, maas_error *error)
{
    char(*old)[VISION_LABEL_MAX] = malloc(VISION_CLASSES_MAX * sizeof(*old));
    if (!old)
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory for the labels");
    memcpy(old, d->labels, VISION_CLASSES_MAX * sizeof(*old));
    qsort(d->labels, d->classes, sizeof(*d->labels), by_name);
    for (uint32_t i = 0; i < d->rows; i++) {
        const char *found =
            bsearch(old[d->truth[i]], d->labels, d->classes, sizeof(*d->labels), by_name);
        d->truth[i] = (uint32_t)((size_t)(found - d->labels[0]) / sizeof(*d->labels));
    }
    free(old);
    return MAAS_OK;
}

/* labels.txt: a name a line, in the order of the numbers; without it they are numbers. */
static maas_status name_numbers(struct vision_data *d, const char *dir, maas_error *error)
{
    char path[NAME], line[VISION_LABEL_MAX + 2];
    snprintf(path, sizeof(path), "%s/labels.txt", dir);
    FILE *file = fopen(path, "re");
    for (uint32_t i = 0; i < d->classes; i++) {
        snprintf(d->labels[i], VISION_LABEL_MAX, "%u", i);
        if (!file)
            continue;
        if (!fgets(line, sizeof(line), file) || strcspn(line, "\r\n") == 0 ||
            strcspn(line, "\r\n") >= VISION_LABEL_MAX) {
            fclose(file);
            return maas_fail(error, MAAS_E_INVALID, "labels.txt: no good name for class %u", i);
        }
        line[strcspn(line, "\r\n")] = 0;
        snprintf(d->labels[i], VISION_LABEL_MAX, "%.*s", VISION_LABEL_MAX - 1, line);
    }
    if (file)
        fclose(file);
    return MAAS_OK;
}

/* ---- IDX */

static bool idx_path(char *path, const char *dir, const char *part, const char *what)
{
    static const char *const ends[] = { "", ".gz" };
    const char *const parts[] = { part, strcmp(part, "test") == 0 ? "t10k" : part };
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, NAME, "%s/%s-%s-ubyte%s", dir, parts[i / 2], what, ends[i % 2]);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

/* A head of `count` numbers behind the magic; gzread passes plain files on. */
static gzFile idx_open(const char *path, uint32_t magic, uint32_t *numbers, int count)
{
    uint8_t head[16];
    gzFile file = gzopen(path, "rbe");
    bool good = file && gzread(file, head, (unsigned)(count + 1) * 4) == (count + 1) * 4;
    for (int i = 0; good && i <= count; i++) {
        const uint8_t *p = head + 4 * i;
        const uint32_t value =
            (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
        if (i == 0)
            good = value == magic;
        else
            numbers[i - 1] = value;
    }
    if (good)
        return file;
    if (file)
        gzclose(file);
    return NULL;
}

static maas_status idx_pixels(const char *path, struct vision_data *d, const maas_host *host,
                              const maas_request *job, maas_error *error)
{
    uint32_t head[3];
    gzFile file = idx_open(path, 0x803, head, 3);
    if (!file)
        return maas_fail(error, MAAS_E_INVALID, "the file of images has no head of IDX");
    d->rows = head[0];
    d->height = head[1];
    d->width = head[2];
    maas_status status = check_size(d, error);
    if (!status && (d->rows == 0 || d->rows > ROWS_MAX || d->rows * size_of(d) > PIXELS_MAX))
        status = maas_fail(error, MAAS_E_INVALID, "%u images are none or too many", d->rows);
    if (!status)
        d->pixels = malloc(d->rows * size_of(d));
    for (uint32_t i = 0; !status && i < d->rows; i++)
        if (!d->pixels ||
            gzread(file, d->pixels + i * size_of(d), (unsigned)size_of(d)) != (int)size_of(d))
            status = maas_fail(error, d->pixels ? MAAS_E_INVALID : MAAS_E_EXHAUSTED,
                               "%u of %u images can be read", i, d->rows);
        else
            status = look(host, job, i, error);
    gzclose(file);
    return status;
}

static maas_status idx_truth(const char *path, struct vision_data *d, maas_error *error)
{
    uint32_t rows = 0;
    gzFile file = idx_open(path, 0x801, &rows, 1);
    if (!file)
        return maas_fail(error, MAAS_E_INVALID, "the file of labels has no head of IDX");
    d->truth = malloc(d->rows * sizeof(*d->truth));
    maas_status status = MAAS_OK;
    if (rows != d->rows || !d->truth)
        status = maas_fail(error, d->truth ? MAAS_E_INVALID : MAAS_E_EXHAUSTED,
                           "%u labels for %u images", rows, d->rows);
    for (uint32_t i = 0; !status && i < rows; i++) {
        const int byte = gzgetc(file);
        if (byte < 0)
            status = maas_fail(error, MAAS_E_INVALID, "the file of labels ends early");
        d->truth[i] = (uint32_t)byte;
        if (!status && d->classes <= (uint32_t)byte)
            d->classes = (uint32_t)byte + 1;
    }
    gzclose(file);
    return status;
}

static maas_status read_idx(const struct vision_reading *how, struct vision_data *d,
                            const maas_host *host, const maas_request *job, maas_error *error)
{
    char images[NAME], labels[NAME];
    if (!idx_path(images, how->dir, how->part, "images-idx3") ||
        !idx_path(labels, how->dir, how->part, "labels-idx1"))
        return MAAS_E_NOT_FOUND;
    maas_status status = idx_pixels(images, d, host, job, error);
    if (!status)
        status = idx_truth(labels, d, error);
    return status ? status : name_numbers(d, how->dir, error);
}

/* ---- comma-separated values */

static maas_status csv_shape(const struct vision_reading *how, const struct csv *csv,
                             struct vision_data *d, maas_error *error)
{
    const uint32_t pixels = csv_columns(csv) - 1;
    const uint32_t side = (uint32_t)lround(sqrt(pixels));
    d->width = how->width ? how->width : side;
    d->height = how->height ? how->height : side;
    if ((uint64_t)d->width * d->height != pixels)
        return maas_fail(error, MAAS_E_INVALID,
                         "%u columns of pixels are not %u by %u; set 'width' and 'height'", pixels,
                         d->width, d->height);
    return check_size(d, error);
}

static maas_status csv_row(const struct vision_reading *how, const maas_str *cells,
                           const struct csv *csv, uint32_t label, struct vision_data *d,
                           maas_error *error)
{
    uint8_t *out = d->pixels + d->rows * size_of(d);
    for (uint32_t c = 0; c < csv_columns(csv); c++) {
        double value;
        if (c == label)
            continue;
        if (!csv_number(cells[c], &value) || value < 0 || value > how->pixel_max)
            return maas_fail(error, MAAS_E_INVALID,
                             "line %llu: column '%.*s' is no number from 0 to %g",
                             (unsigned long long)csv_line(csv), (int)csv_name(csv, c).len,
                             csv_name(csv, c).data, how->pixel_max);
        *out++ = (uint8_t)lround(value * 255 / how->pixel_max);
    }
    maas_status status = label_index(d, cells[label], &d->truth[d->rows], error);
    d->rows += status == MAAS_OK;
    return status;
}

static maas_status read_csv(const struct vision_reading *how, struct vision_data *d,
                            const maas_host *host, const maas_request *job, maas_error *error)
{
    char name[32];
    struct csv *csv = NULL;
    uint32_t label = 0, room = 0;
    const maas_str *cells = NULL;
    snprintf(name, sizeof(name), "%s.csv", how->part);
    maas_status status = csv_open(how->dir, name, &csv, error);
    if (!status)
        status = csv_find(csv, "label", &label, error);
    if (!status)
        status = csv_shape(how, csv, d, error);
    if (!status)
        status = take_labels(d, error);
    while (!status && !(status = csv_next(csv, &cells, error)) && cells) {
        status = grow(d, &room, error);
        if (!status)
            status = csv_row(how, cells, csv, label, d, error);
        if (!status)
            status = look(host, job, d->rows, error);
    }
    csv_close(csv);
    return status ? status : sort_labels(d, error);
}

/* ---- folders of pictures */

struct album {
    struct vision_data *data;
    uint32_t room;
};

static maas_status decode_into(maas_str file, struct vision_data *d, maas_error *error)
{
    const struct prepare p = { .width = d->width,
                               .height = d->height,
                               .antialias = true,
                               .grey = true,
                               .scale = 1,
                               .deviation = { 1, 1, 1 } };
    float out[VISION_SIDE_MAX * VISION_SIDE_MAX];
    maas_status status = picture_prepare(out, file, &p, error);
    for (size_t i = 0; !status && i < size_of(d); i++)
        d->pixels[d->rows * size_of(d) + i] = (uint8_t)lroundf(fminf(fmaxf(out[i], 0), 255));
    return status;
}

static maas_status add_picture(void *arg, const char *label, maas_str file, maas_error *error)
{
    struct album *a = arg;
    struct vision_data *d = a->data;
    maas_status status = grow(d, &a->room, error);
    if (!status)
        status = decode_into(file, d, error);
    if (!status)
        status = label_index(d, maas_text(label), &d->truth[d->rows], error);
    d->rows += status == MAAS_OK;
    return status;
}

static maas_status read_images(const struct vision_reading *how, struct vision_data *d,
                               const maas_host *host, const maas_request *job, maas_error *error)
{
    struct album album = { .data = d };
    if (strcmp(how->part, "train") != 0 || !pictures_exist(how->dir))
        return MAAS_E_NOT_FOUND;
    d->width = how->width ? how->width : 28;
    d->height = how->height ? how->height : 28;
    maas_status status = check_size(d, error);
    if (!status)
        status = take_labels(d, error);
    if (!status)
        status = pictures_walk(how->dir, add_picture, &album, host, job, error);
    return status ? status : sort_labels(d, error);
}

maas_status vision_data_read(const struct vision_reading *how, struct vision_data *out,
                             const maas_host *host, const maas_request *job, maas_error *error)
{
    memset(out, 0, sizeof(*out));
    maas_status status = take_labels(out, error);
    if (!status)
        status = read_idx(how, out, host, job, error);
    if (status == MAAS_E_NOT_FOUND) {
        vision_data_release(out);
        status = read_csv(how, out, host, job, error);
    }
    if (status == MAAS_E_NOT_FOUND) {
        vision_data_release(out);
        status = read_images(how, out, host, job, error);
    }
    if (!status && (out->rows == 0 || out->classes < 2))
        status = maas_fail(error, MAAS_E_INVALID, "%u pictures of %u classes are nothing to learn",
                           out->rows, out->classes);
    if (status == MAAS_E_NOT_FOUND)
        maas_fail(error, status, "the data has no %s images: IDX files, %s.csv or images/",
                  how->part, how->part);
    if (status)
        vision_data_release(out);
    return status;
}
