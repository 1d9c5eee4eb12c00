/*
 * artifact.h: artifacts on disk, by digest. Private to fleet/. [control]
 */
#ifndef MAAS_FLEET_ARTIFACT_H
#define MAAS_FLEET_ARTIFACT_H

#include "base/base.h"
#include "store/sql.h"

/*
 * Makes <cache_dir>/<sha256> hold the artifact's files: from disk when they are there, else read
 * from PostgreSQL, checked against the digest and unpacked (regular files and folders only, no path
 * leaves the folder). `out_path` takes the folder's path.
 */
maas_status MUST_USE artifact_fetch(struct sql *sql, const char *cache_dir,
                                    const uint8_t sha256[32], char *out_path, size_t out_size,
                                    maas_error *error);

/* Unpacks a tar held in memory into an existing empty folder, under the same rules. Used at upload
 * too, to refuse early. */
maas_status MUST_USE artifact_unpack(const void *tar, size_t size, const char *folder,
                                     maas_error *error);
/* Removes a folder that artifact_unpack filled, and what is in it. Follows no link. */
void artifact_remove(const char *folder);
void artifact_digest(const void *data, size_t size, uint8_t out[32]);

#endif
