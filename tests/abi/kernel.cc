/*
 * kernel.cc: "test.kernel": a plugin in C++11, of classes, with exceptions inside and none at the
 * border. Written with what sdk/ says alone.
 *
 * Kernel regression (Nadaraya 1964, Watson 1964): the answer is the mean of the known answers,
 * weighted by exp(-distance^2 / 2 width^2). The artifact is points.txt: "points N columns P", then
 * N lines of P numbers and the answer, then "end". Option `width` is the kernel's.
 *
 * Input "features" FP64 [rows, P], output "prediction" FP64 [rows].
 */
#include <maas/author.h>

#include <cmath>
#include <exception>
#include <fstream>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

namespace
{

const size_t most_points = 100000, most_columns = 1000;
const int64_t rows_shape[1] = { -1 };

/* The known points, and the mean that they give anywhere. */
class Points
{
  public:
    explicit Points(const std::string &path)
    {
        std::ifstream file(path);
        std::string points, columns, end;
        size_t count = 0;
        if (!file)
            throw std::runtime_error("cannot open 'points.txt'");
        file >> points >> count >> columns >> columns_;
        if (!file || points != "points" || columns != "columns" || count < 1 || columns_ < 1 ||
            count > most_points || columns_ > most_columns)
            throw std::runtime_error("'points.txt' has no proper head");
        for (double number; values_.size() < count * (columns_ + 1) && file >> number;)
            values_.push_back(number);
        if (values_.size() != count * (columns_ + 1) || !(file >> end) || end != "end")
            throw std::runtime_error("'points.txt' is cut short");
    }

    size_t columns() const
    {
        return columns_;
    }

    double mean_at(const double *x, double width) const
    {
        const size_t stride = columns_ + 1;
        double nearest = INFINITY, sum = 0, weights = 0;
        for (size_t i = 0; i < values_.size(); i += stride)
            nearest = std::fmin(nearest, distance2(x, &values_[i]));
        for (size_t i = 0; i < values_.size(); i += stride) {
            /* relative to the nearest, or all weights could be 0 */
            double far = distance2(x, &values_[i]) - nearest;
            double weight = std::exp(-far / (2 * width * width));
            weights += weight;
            sum += weight * values_[i + columns_];
        }
        return sum / weights;
    }

  private:
    double distance2(const double *x, const double *point) const
    {
        double sum = 0;
        for (size_t j = 0; j < columns_; j++)
            sum += (x[j] - point[j]) * (x[j] - point[j]);
        return sum;
    }

    size_t columns_ = 0;
    std::vector<double> values_; /* rows of columns_ numbers and the answer */
};

/* Nothing that is thrown passes here. */
template <typename Body> maas_status guarded(maas_error *error, Body body)
{
    try {
        return body();
    } catch (const std::bad_alloc &) {
        return maas_fail(error, MAAS_E_EXHAUSTED, "no memory");
    } catch (const std::exception &e) {
        return maas_fail(error, MAAS_E_DATA_LOSS, "%s", e.what());
    } catch (...) {
        return maas_fail(error, MAAS_E_INTERNAL, "something was thrown");
    }
}

/* Memory of the host for one request, given back at the end of the scope. */
class Rows
{
  public:
    Rows(const maas_host *host, size_t count)
        : host_(host), data_(static_cast<double *>(host->alloc(host, count * sizeof(double), 64)))
    {
        if (!data_)
            throw std::bad_alloc();
    }
    ~Rows()
    {
        host_->free(host_, data_);
    }
    Rows(const Rows &) = delete;
    Rows &operator=(const Rows &) = delete;
    double *data()
    {
        return data_;
    }

  private:
    const maas_host *host_;
    double *data_;
};

} // namespace

struct maas_model {
    maas_model(const maas_host *its_host, const maas_model_spec *spec)
        : host(its_host), points(std::string(spec->root) + "/points.txt"),
          width(maas_option_find(spec->options, spec->option_count, "width")->real)
    {
        shape[0] = -1;
        shape[1] = static_cast<int64_t>(points.columns());
        input = maas_port_of("features", maas_type(MAAS_FLOAT, 64), 2, shape);
        output = maas_port_of("prediction", maas_type(MAAS_FLOAT, 64), 1, rows_shape);
    }

    const maas_host *host;
    Points points;
    double width;
    int64_t shape[2];
    maas_port input, output;
};

namespace
{

maas_status load(const maas_host *host, const maas_model_spec *spec, maas_model **out,
                 maas_error *error)
{
    return guarded(error, [=]() -> maas_status {
        *out = new maas_model(host, spec);
        return MAAS_OK;
    });
}

void unload(maas_model *model)
{
    delete model;
}

maas_status describe(maas_model *model, maas_signature *s, maas_error *)
{
    s->inputs = &model->input;
    s->outputs = &model->output;
    s->input_count = s->output_count = 1;
    s->rows_independent = 1;
    s->task = "regression";
    return MAAS_OK;
}

maas_status infer(maas_model *model, const maas_request *r, maas_error *error)
{
    return guarded(error, [=]() -> maas_status {
        const double *x = static_cast<const double *>(r->inputs[0].tensor.data);
        Rows y(model->host, r->rows);
        for (uint32_t i = 0; i < r->rows; i++) {
            if (model->host->cancelled(model->host, r))
                return maas_fail(error, MAAS_E_CANCELLED, "cancelled at row %u", i);
            y.data()[i] = model->points.mean_at(x + i * model->points.columns(), model->width);
            if (!std::isfinite(y.data()[i]))
                return maas_fail(error, MAAS_E_INVALID, "row %u is too large", i);
        }
        int64_t rows = r->rows;
        maas_named out = maas_output(&model->output, y.data(), &rows);
        return maas_answer(model->host, r, &out, 1);
    });
}

const maas_option_decl width = {
    sizeof(maas_option_decl),        MAAS_OPTION_FLOAT, "width", "0.5", "0.001..1000",
    "how far a known point is heard"
};
const maas_option_decl *const options[] = { &width, nullptr };

maas_plugin make_plugin()
{
    maas_plugin p = maas_plugin();
    p.size = sizeof(p);
    p.abi = MAAS_ABI;
    p.id = "test.kernel";
    p.version = "1.0";
    p.title = "Kernel regression in C++";
    p.vendor = "maas";
    p.options = options;
    p.load = load;
    p.unload = unload;
    p.describe = describe;
    p.infer = infer;
    return p;
}

} // namespace

const maas_plugin *maas_plugin_entry(uint32_t host_abi)
{
    static const maas_plugin plugin = make_plugin();
    return host_abi >> 16 == MAAS_ABI_MAJOR ? &plugin : nullptr;
}
