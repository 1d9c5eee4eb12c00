/*
 * config.h: the configuration, read once: defaults (limits.def) < YAML file < environment.
 * Immutable afterwards. [any]
 */
#ifndef MAAS_CONFIG_H
#define MAAS_CONFIG_H

#include "base/base.h"

struct config {
#define TEXT(member, path, dflt, help)                char *member;
#define NUMBER(member, path, dflt, least, most, help) uint64_t member;
#define FLAG(member, path, dflt, help)                bool member;
#include "base/limits.def"
#undef TEXT
#undef NUMBER
#undef FLAG
};

/* file may be NULL. Unknown keys, wrong types and values out of bounds are MAAS_E_INVALID and name
 * file, line and key. */
maas_status MUST_USE config_load(const char *file, struct config **out, maas_error *error);
void config_free(struct config *config);
/* The documented YAML with every key and its default, to stdout (`maas-gateway --print-config`). */
void config_print(const struct config *config);

#endif
