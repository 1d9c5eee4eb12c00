# diabetes.sh: what the illness did within a year, by least squares from ten measurements of a patient.
#
# The data: 442 patients, as shipped in Debian's python3-sklearn.

TASK=regression
PLUGIN=maas.linreg
WHAT="442 patients"
ROUTE=/v1/regression
OPTIONS=(target=progression)
REQUEST='{"model":"diabetes","features":{"age":59,"sex":2,"bmi":32.1,"bp":101,"s1":157,"s2":93.2,"s3":38,"s4":4,"s5":4.8598,"s6":87}}'

model_data() { # FOLDER
    local from
    from=$(deb_files python3-sklearn usr/lib/python3/dist-packages/sklearn/datasets/data diabetes_data_raw.csv.gz diabetes_target.csv.gz) ||
        return 1
    {
        echo "age,sex,bmi,bp,s1,s2,s3,s4,s5,s6,progression"
        paste -d ' ' <(gzip -dc "$from/diabetes_data_raw.csv.gz") \
            <(gzip -dc "$from/diabetes_target.csv.gz" | awk '{ print $1 + 0 }') | tr -s ' ' ','
    } >"$1/train.csv"
    [ "$(wc -l <"$1/train.csv")" = 443 ]
}
