# digits.sh: which digit a picture shows, by a small convolutional network.
#
# The data: 1,797 handwritten digits of 8 x 8 pixels, as shipped in Debian's python3-sklearn. The picture that is asked first
# is one of them, as a PNG.

TASK=image-classification
PLUGIN=maas.vision
WHAT="handwritten digits"
ROUTE=/v1/image-classification
OPTIONS=(pixel_max=16 learning_rate=0.003 epochs=40 batch=32 dropout=0.5 test_fraction=0.2 validation_fraction=0)
REQUEST='{"model":"digits","image":"iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAAAAADhZOFXAAAAOElEQVR42mNgkH//Pp4BDOaf/+8PYcn/74cw9P+vhzAYzt/nhzDywYr47ePPvweJ6L+/v16egQEAZbwRYlruuo0AAAAASUVORK5CYII=","top_k":2}'

model_data() { # FOLDER
    local from
    from=$(deb_files python3-sklearn usr/lib/python3/dist-packages/sklearn/datasets/data digits.csv.gz) || return 1
    {
        seq -s , -f p%g 0 63 | tr -d '\n'
        echo ,label
        gzip -dc "$from/digits.csv.gz"
    } >"$1/train.csv"
    [ "$(wc -l <"$1/train.csv")" = 1798 ]
}
