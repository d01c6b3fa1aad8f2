#!/usr/bin/env bash
# One asc-jax command on all workers of a Cloud TPU VM slice, each of which runs one process.
#
#   TPU=my-slice ZONE=us-central2-b launch/tpu_vm.sh \
#       asc-jax train --config=configs/se_resnet152.py --config.data.root=ROOT --workdir=RUN
#
# The checkout with its .venv (pip install -e '.[tpu]') must be at REPO on every worker, the data
# set at ROOT on every worker; the run folder, and for gan the classifier's, is for worker 0 alone.
# Preempted, the slice is created again and the same command resumes: bring RUN on a disk that outlives the slice.
set -euo pipefail

if [ $# -eq 0 ] || [ -z "${TPU:-}" ] || [ -z "${ZONE:-}" ]; then
    echo "tpu_vm.sh: write TPU=NAME ZONE=ZONE launch/tpu_vm.sh asc-jax train ..." >&2
    exit 2
fi
REPO=${REPO:-asc_jax}

# Quoted twice: once by this shell, once by the workers'. JAX finds the slice's own addresses.
printf -v command '%q ' "$@"
status=0
gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker=all --command="
    cd $(printf '%q' "$REPO") && . .venv/bin/activate && ASC_JAX_COORDINATOR=auto $command
" || status=$?
if [ "$status" -ne 0 ] && [ "$status" -ne 2 ]; then
    echo "tpu_vm.sh: status $status; if a worker was lost, run the same command to resume" >&2
fi
exit "$status"
