#!/bin/sh
# usage.sh RETORT - help, version and exit codes of wrong usage.
# shellcheck source=tests/cli/common.sh
. "$(dirname "$0")/common.sh"

expect 0 'Usage: retort COMMAND' --help
for command in run train distill eval inspect data report list bench; do
    grep -q "^  $command  *[a-z]" "$folder/out" || fail "--help: no line about $command"
done
expect 0 'retort 0.' --version
(unset OMP_WAIT_POLICY GOMP_SPINCOUNT; expect 0 'retort 0.' --version; expect 2 'no command cook' cook)
expect 2 'Usage: retort COMMAND'
expect 2 'no command cook' cook
expect 2 'no command --cook' --cook

# helps COMMAND OPTION...: --help exits with 0 and names every option.
helps() {
    command=$1
    shift
    expect 0 "Usage: retort $command" "$command" --help
    for option in "$@" help usage version; do
        grep -q -e "--$option" "$folder/out" || fail "$command --help: nothing about --$option"
    done
    expect 0 'retort 0.' "$command" --version
    expect 2 "unrecognized option '--cook'" "$command" --cook
}
helps run out set resume repeat force save-every dry-run quiet no-report no-events json
helps train out set resume repeat force save-every dry-run quiet no-report no-events json
helps distill out set resume repeat force save-every dry-run quiet no-report no-events json
helps eval data size held-out skip-bad batch threads json
helps data size held-out skip-bad from quiet json
helps inspect classes input json
helps report output
helps list json
helps bench pair mode data size all batch threads precision repeat profile json
expect 0 'resnet' inspect --help

expect 2 'a recipe wanted' run
expect 2 'one recipe wanted' run a b
expect 2 'requires an argument' run --out
expect 2 '--data wanted' eval model
expect 2 'one model wanted' eval a b --data mnist
expect 2 'a whole number from 1 to 65536' eval a --data mnist --batch 0
expect 2 'do not belong to list' data list --size 48
expect 2 'do not belong to fetch' data fetch cifar10 --skip-bad
expect 2 '--held-out: 1 found, a number above 0, at most 0.9, wanted' eval a --data folder:x --held-out 1
expect 2 'a whole number from 1 to 4096' eval a --data mnist --threads 1x
expect 2 'a model file or a network wanted' inspect
expect 2 'channels x height x width' inspect vgg:depth=6 --input 32
expect 2 'a whole number from 1 to 65536' inspect vgg:depth=6 --classes -3
expect 2 'f32 or bf16' bench --precision f64
expect 2 'no argument wanted' bench fast
expect 2 '--pair: an option of networks' bench --data fashion-mnist --pair vgg
expect 2 '--profile: an option of networks' bench --profile --data fashion-mnist

expect 1 '/nowhere/r.yaml' run /nowhere/r.yaml
expect 1 '/nowhere/m.safetensors' eval /nowhere/m.safetensors --data fashion-mnist
expect 1 '/nowhere/m.safetensors' inspect /nowhere/m.safetensors
expect 1 'cows' inspect cows:depth=3
expect 1 'pear' bench --pair pear --repeat 1
expect 1 'cows' bench --data cows
