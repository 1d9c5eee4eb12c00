/*
 * manifest.h: manifest.json, what an artifact says of itself. Private to engine/.
 *
 * Format 1, keys sorted, written the same for the same training: {"data": {"files", "sha256"},
 * "files": [{"path", "sha256", "size"}], "format": 1, "metrics", "options", "plugin": {"id",
 * "version"}, "seed", "signature": {"inputs", "max_rows", "outputs", "rows_independent"}, "task"}.
 */
#ifndef MAAS_ENGINE_MANIFEST_H
#define MAAS_ENGINE_MANIFEST_H

#include "base/buf.h"
#include "engine/engine.h"

#define METRICS_MAX 64

struct metric {
    char name[64];
    double value;
};

struct manifest {
    const char *data_dir, *out_dir;
    const maas_plugin *plugin;
    const maas_signature *signature;
    const struct engine_option *options;
    const struct metric *metrics;
    size_t option_count, metric_count;
    uint64_t seed;
};

/* Hashes both folders and writes out_dir/manifest.json. */
maas_status MUST_USE manifest_write(const struct manifest *m, maas_error *error);

#endif
