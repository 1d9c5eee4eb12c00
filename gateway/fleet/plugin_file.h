/*
 * plugin_file.h: which file a deployment's plugin is, and whether it may be loaded. [control]
 */
#ifndef MAAS_FLEET_PLUGIN_FILE_H
#define MAAS_FLEET_PLUGIN_FILE_H

#include "registry/registry.h"

/*
 * The file of a plugin, <plugins_dir>/<id>.so, and its digest, which is one that `allowed` holds.
 * MAAS_E_DENIED when it is not allowed: the text names the digest and what to do.
 *
 * The digest found here is what the worker is told to load, and it compares it with the copy that
 * it loads: a file that is exchanged in between is refused there. The worker is not asked which
 * digest it runs: plugin code could answer in its place, and outlive its revocation.
 */
maas_status MUST_USE plugin_file_find(const char *plugins_dir, const struct snapshot *allowed,
                                      const char *id, char *out_path, size_t out_size,
                                      uint8_t out_sha256[32], maas_error *error);
/* The digest of any file, read in pieces. */
maas_status MUST_USE plugin_file_digest(const char *path, uint8_t out_sha256[32],
                                        maas_error *error);

#endif
