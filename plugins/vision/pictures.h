/*
 * pictures.h: a folder of pictures for each label, images/LABEL/FILE: JPEG, PNG or WebP.
 */
#ifndef VISION_PICTURES_H
#define VISION_PICTURES_H

#include <maas/author.h>

#include "image/prepare.h"

bool pictures_exist(const char *dir); /* DIR/images */
/* Calls fn for each file, labels and files in the order of their names; what it gives back ends the
 * walk, with the file's name in front of its words. The job is looked at before each. */
typedef maas_status picture_fn(void *arg, const char *label, maas_str file, maas_error *error);
maas_status pictures_walk(const char *dir, picture_fn *fn, void *arg, const maas_host *host,
                          const maas_request *job, maas_error *error);
/* A file's numbers: out [prepare_count(p)]. Its memory is malloc's: for jobs. */
maas_status picture_prepare(float *out, maas_str file, const struct prepare *p, maas_error *error);

#endif
