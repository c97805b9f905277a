#!/usr/bin/env bash
# Whether training still gives the same bits: 20 steps of every model and objective on UMLS, a line each with checksums of
# the losses and of all tables with their optimizer's state. Bits hold on one instruction set and one libm only, so compare
# two versions of the program on one machine:
#
#   benches/steps.sh [--device cuda] OLD_SMORE >old.txt; benches/steps.sh [--device cuda] NEW_SMORE >new.txt; diff old.txt new.txt
set -euo pipefail
device=cpu
[[ ${1:-} == --device ]] && { device=$2; shift 2; }
smore=${1:?"usage: benches/steps.sh [--device DEVICE] SMORE"}

rows() {
    local model
    # Chains where the model has no intersections.
    for model in gqe query2box betae cone complex distmult rotate rescal tucker; do echo "queries $model"; done
    for model in transe conve; do echo "queries $model --structures 1p:2,2p:2,3p:2"; done
    for model in gqe query2box betae cone complex distmult rotate transe rescal tucker conve; do
        for objective in negatives 1vsall kvsall; do
            echo "$objective $model --set training.objective=$objective"
        done
    done
    echo "own-pools gqe --set sampling.pool=own"
    echo "gqe-l2 gqe --set model.norm=l2"
    echo "demorgan betae --set model.union=demorgan --structures 1p,2i,2u,up,2in"
    echo "cross-entropy query2box --set training.loss=cross-entropy"
    echo "margin rotate --set training.objective=negatives --set training.loss=margin"
    echo "uniform gqe --set training.adversarial_temperature=0 --set training.query_weighting=uniform"
    echo "clip query2box --set training.clip_norm=0.02"
    echo "clip-single complex --set training.objective=1vsall --set training.clip_norm=0.02"
    echo "n3 complex --set model.regulariser=n3 --set model.regularise_entities=0.01 --set model.regularise_relations=0.01"
    echo "n3-single complex --set training.objective=1vsall --set model.regulariser=n3 --set model.regularise_entities=0.01 --set model.regularise_relations=0.01 --set training.relation_prediction=0.5"
    echo "l2 distmult --set training.objective=kvsall --set model.regulariser=l2 --set model.regularise_entities=0.01 --set training.loss=cross-entropy"
    echo "dropout conve --set training.objective=1vsall --set model.dropout_entity=0.2 --set model.dropout_relation=0.1 --set training.label_smoothing=0.1"
    local optimizer
    for optimizer in adagrad rowwise-adagrad sgd; do echo "$optimizer gqe --set training.optimizer=$optimizer"; done
}

while read -r name model options; do
    # shellcheck disable=SC2086
    document=$("$smore" bench steps umls --model "$model" --dim 16 --device "$device" --set training.batch_size=64 \
        --set sampling.negatives=48 --set model.hidden=24 --set training.learning_rate=0.01 $options --json </dev/null)
    sum() { sed -n "s/.*\"$1_checksum\": \"\(.*\)\".*/\1/p" <<<"$document"; }
    printf '%-14s %-10s losses %s tables %s\n' "$name" "$model" "$(sum losses)" "$(sum weights)"
done < <(rows)
