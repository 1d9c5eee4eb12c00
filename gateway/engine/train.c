/*
 * train.c: training and evaluation through "maas.train/1". A job is a request without inputs: the
 * same emit, done and cancelled serve it; memory comes from the heap, since such a job lasts.
 */
#include "engine/internal.h"

#define TRAIN_MEMORY ((size_t)1 << 20)

static maas_status run(const struct engine_plugin *plugin, const struct engine_model *model,
                       const maas_host *host, const maas_train_spec *spec, struct engine_job *job,
                       maas_error *error)
{
    maas_request request = { .size = sizeof(request) };
    struct job_slot *slot = job_begin(job, &request);
    maas_status status = spec->out
                             ? plugin->train.train(host, spec, &slot->request, error)
                             : plugin->train.evaluate(model->model, spec, &slot->request, error);
    return job_finish(host, slot, status, error);
}

maas_status engine_train_run(struct engine_plugin *plugin, struct engine_model *model,
                             const struct engine_train *train, maas_error *error)
{
    const maas_host *host = train->out_dir ? &plugin->host.table : &model->host.table;
    maas_train_spec spec = {
        .size = sizeof(spec), .data = train->data_dir, .out = train->out_dir, .seed = train->seed
    };
    struct engine_job *job;
    if (train->out_dir ? !plugin->train.train : !plugin->train.evaluate)
        return fail(error, MAAS_E_UNIMPLEMENTED, "plugin '%s' cannot %s", plugin->table.id,
                    train->out_dir ? "train" : "evaluate");
    struct str wrong;
    maas_status status = engine_job_new(TRAIN_MEMORY, &job, error);
    if (status)
        return status;
    job->on_scalar = train->on_scalar;
    job->on_scalar_arg = train->arg;
    status = options_parse(job->arena, plugin->train.options, train->options, train->option_count,
                           &spec.options, &spec.option_count, &wrong, error);
    if (!status)
        status = run(plugin, model, host, &spec, job, error);
    engine_job_free(job);
    return status;
}
